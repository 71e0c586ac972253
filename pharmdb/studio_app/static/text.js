// Text helpers: visible control characters, plurals, and tab-separated values.

const HIDDEN = /[\p{Cc}\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu;

// Invisible characters, and those that change the text's direction, are shown by code.
export function visible(text) {
  return text
    .replace(/\r\n|[\n\r]/g, "↵")
    .replace(/\t/g, "⇥")
    .replace(HIDDEN, nameOf);
}

function nameOf(character) {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

// Lower case as the databases compare it: only ASCII letters.
export const asciiLower = (text) => text.replace(/[A-Z]/g, (c) => c.toLowerCase());

export const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

// What a spreadsheet would run as a formula gets an apostrophe when copied, and loses it when pasted, as in exporting.py.
const FORMULA = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const NUMBER = /^([+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]infinity)$/i;
const neutralized = (text) => (FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text);
const restored = (text) => (text.startsWith("'") && FORMULA.test(text) ? text.slice(1) : text);

// Parses a spreadsheet's text into rows and cells; quoted cells can contain tabs and line breaks.
export function fromTSV(text) {
  const rows = [[""]];
  let quoted = false;
  const clean = text.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  for (let i = 0; i < clean.length; i++) {
    const c = clean[i];
    const row = rows[rows.length - 1];
    const at = row.length - 1;
    if (quoted) {
      if (c === '"' && clean[i + 1] === '"') {
        row[at] += '"';
        i++;
      } else if (c === '"') quoted = false;
      else row[at] += c;
    } else if (c === '"' && row[at] === "") quoted = true;
    else if (c === "\t") row.push("");
    else if (c === "\n") rows.push([""]);
    else row[at] += c;
  }
  return rows.map((row) => row.map(restored));
}

export const toTSV = (rows) => rows.map((row) => row.map(quotedText).join("\t")).join("\n");

function quotedText(value) {
  const text = neutralized(value ?? "");
  return /["\t\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
