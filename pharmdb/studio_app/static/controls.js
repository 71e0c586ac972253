// The input control for each kind of value, and the check of what is typed.

import { h } from "./dom.js";
import { pickerFor } from "./picker.js";

const LONG = 60; // texts with at least this many characters are edited in several lines
const MULTILINE = new Set(["text", "raw", "any"]);

const isLong = ({ kind }, text) =>
  kind === "json" || (MULTILINE.has(kind) && (text.length > LONG || /[\r\n]/.test(text)));

// Returns the element, a function that reads its value, and whether it has several lines. `typed` replaces the text.
// `extra` is an element that belongs below the control, if there is one.
export function controlFor(studio, column, id, text, typed) {
  if (column.references) return pickerFor(studio, column, id, typed ?? text ?? "");
  const long = isLong(column, text ?? "");
  if (column.kind === "enum")
    return plainControl(
      h("select", { id }, ...column.values.map((v) => h("option", { value: v, selected: v === text }, v))),
    );
  if (column.kind === "boolean") {
    const control = h("input", { type: "checkbox", id, checked: text === "true" });
    return { control, long, read: () => String(control.checked) };
  }
  if (column.kind === "datetime") return timeControl(id, text ?? "");
  if (column.kind === "password")
    return plainControl(h("input", { type: "password", id, autocomplete: "new-password" }));
  const value = typed ?? text ?? "";
  if (long) return plainControl(h("textarea", { id, rows: "8", cols: "60", value, spellcheck: "false" }), true);
  const inputmode = ["integer", "number"].includes(column.kind) ? "decimal" : undefined;
  return plainControl(h("input", { type: "text", id, value, spellcheck: "false", inputmode }));
}

const plainControl = (control, long = false) => ({ control, long, read: () => control.value });

function timeControl(id, text) {
  const value = text.replace(" ", "T").replace(/(\.\d{3})\d+$/, "$1");
  const control = h("input", { type: "datetime-local", step: "0.001", id, value });
  // Microseconds are kept unless the time is changed.
  const isSame = () => control.value === value || control.value === shortTime(value);
  return { control, long: false, read: () => (isSame() ? text : control.value.replace("T", " ")) };
}

// Browsers omit trailing zeros of a time.
function shortTime(value) {
  return value
    .replace(/(\.\d*?)0+$/, "$1")
    .replace(/\.$/, "")
    .replace(/(T\d\d:\d\d):00$/, "$1");
}

// Why a text is not a valid value of the column; empty if it is valid.
export function misfit({ kind, name }, text) {
  if (kind === "json") {
    try {
      JSON.parse(text);
    } catch (error) {
      return `not JSON: ${error.message}`;
    }
  }
  if (kind === "integer" && !/^\s*[+-]?\d{1,19}\s*$/.test(text)) return `${name} takes a whole number`;
  if (kind === "number" && (text.trim() === "" || Number.isNaN(Number(text)))) return `${name} takes a number`;
  if (kind === "datetime" && !text) return `${name} takes a time`;
  if (kind === "date" && !text) return `${name} takes a date`;
  if (kind === "password" && text.length < 8) return "a password must have at least 8 characters";
  return "";
}
