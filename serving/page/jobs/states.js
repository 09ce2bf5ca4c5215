// The states of a job in words.
export const STATES = {
  queued: { words: "waiting", kind: "waits" },
  running: { words: "at work", kind: "waits" },
  done: { words: "done", kind: "pass" },
  refused: { words: "refused", kind: "fail" }, // the plate is at fault
  failed: { words: "failed", kind: "fail" }, // the service is
};

export const stateOf = (state) => STATES[state] ?? { words: state, kind: "none" };

/** Whether nothing more will happen to it by itself. */
export const isSettled = (state) => ["done", "refused", "failed"].includes(state);
