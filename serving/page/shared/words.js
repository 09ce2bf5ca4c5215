// Numbers and times in words.

/** "1 plate", "3 plates". */
export const count = (number, word, plural = `${word}s`) => `${number} ${number === 1 ? word : plural}`;

/** "1.6 MB". */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = bytes > 0 ? Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1) : 0;
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${units[power]}`;
}

/** "21 Nov 2026, 11:58" in the reader's own time; the text itself where it is no time. */
export function moment(text) {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  return time.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** "about 2 minutes". */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `about ${count(Math.round(seconds / 60), "minute")}`;
  return `about ${Number((seconds / 3600).toPrecision(2))} h`;
}

/** "A01, A02 and 3 more". */
export const some = (names, limit) => names.slice(0, limit).join(", ") + (names.length > limit ? ` and ${names.length - limit} more` : "");

const PROJECTIONS = { mip: "brightest of all planes (maximum projection)", mid: "middle plane", mos: "mean of all planes" };

/** "hoechst, brightest of all planes (maximum projection)" of "hoechst:mip", as a model's card names what it reads. */
export function planeWords(plane) {
  const [channel, projection] = plane.split(":");
  return `${channel.replace(".", ", ")}, ${PROJECTIONS[projection] ?? projection ?? "as it is"}`;
}

/** Whether two names are of one cell line or patient, as the service compares them: "a549" is A549. */
export const sameSample = (...names) => unique(names.map((name) => name.trim().replace(/\s+/g, " ").toLowerCase())).length === 1;

/** The same list without repetitions, in order. */
export const unique = (items) => [...new Set(items)];
