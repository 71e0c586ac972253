// Names of rows for people: a label such as an e-mail address, or the parts that tell rows apart.

import { textOf } from "./cells.js";
import { visible } from "./text.js";

const NAMED_PARTS = 3;
const LONGEST_PART = 40;

// The name of a row; `cells` are its cells by column name. Empty if nothing is known of it.
export function rowName(studio, table, cells) {
  const known = (column) => {
    const text = textOf(cells[column.name] ?? null);
    return column.references ? (studio.labels[`${table.name}.${column.name}`]?.[text] ?? text) : text;
  };
  const telling = table.label
    ? table.columns.filter((c) => c.name === table.label)
    : table.columns.filter((c) => !c.key && !c.secret && (c.references || ["text", "enum"].includes(c.kind)));
  const texts = telling.map(known).filter((text) => text !== null && text !== undefined && text !== "");
  return texts.slice(0, NAMED_PARTS).map(shortened).join(", ");
}

function shortened(text) {
  return visible(text.length > LONGEST_PART ? `${text.slice(0, LONGEST_PART)}…` : text);
}

// The cells of a line of the shown table by column name.
export const cellsOf = (studio, line) =>
  Object.fromEntries(studio.table.columns.map((c, n) => [c.name, line.cells[n]]));
