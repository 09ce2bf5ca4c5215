// The states of a job in words.
const STATES = {
  queued: { words: "waiting", kind: "waits" },
  running: { words: "being scored", kind: "waits" },
  done: { words: "done", kind: "pass" },
  failed: { words: "not scored", kind: "fail" },
};

export const stateOf = (state) => STATES[state] ?? { words: state, kind: "none" };

/** Whether nothing more will happen to it by itself. */
export const isSettled = (state) => ["done", "failed"].includes(state);
