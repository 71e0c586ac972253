// Cells, keys and kinds of columns as the kernel sends them. A cell is text, null, or an object: `t` is the text, `n`
// its full length if it was truncated, `m` is set if it is masked.

export const KIND_NAMES = {
  text: "text",
  integer: "whole number",
  number: "number",
  boolean: "true or false",
  datetime: "time, UTC",
  date: "date",
  enum: "one of a list",
  json: "JSON",
  bytes: "bytes",
  raw: "other",
  any: "any",
  password: "password",
};
export const SHORT_NAMES = {
  ...KIND_NAMES,
  integer: "integer",
  boolean: "boolean",
  enum: "list",
  datetime: "UTC time",
};

const isObject = (cell) => cell !== null && typeof cell === "object";

export const textOf = (cell) => (isObject(cell) ? cell.t : cell);
export const isMasked = (cell) => isObject(cell) && Boolean(cell.m);
export const isCut = (cell) => isObject(cell) && !cell.m && cell.n !== undefined;
export const keyText = (key) => key.map((part) => (part === null ? "NULL" : part.slice(2))).join(", ");
