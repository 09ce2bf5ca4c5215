// CSV that a spreadsheet program takes for what it is, as models/plates/safe_csv.py writes it: "=1+1" is a name, not a formula to run.

const STARTS = /^'*[=+\-@\t\n＝＋－＠]./s;
const isNumber = (text) => text.trim() === text && Number.isFinite(Number(text));

/** Rows of values as CSV; lists of words are joined by blanks. */
export const csv = (rows) => rows.map((row) => `${row.map(cell).join(",")}\n`).join("");

function cell(value) {
  const text = (Array.isArray(value) ? value.join(" ") : String(value ?? "")).replace(/\r\n?/g, "\n");
  const marked = STARTS.test(text) && !isNumber(text.replace(/^'+/, "")) ? `'${text}` : text;
  return /[",\n]/.test(marked) ? `"${marked.replaceAll('"', '""')}"` : marked;
}
