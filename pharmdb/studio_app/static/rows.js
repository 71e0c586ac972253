// Duplicating and deleting rows.

import { isCut, isMasked, keyText, textOf } from "./cells.js";
import { addDeletion, dropChanges } from "./changes.js";
import { ask } from "./dialog.js";
import { button, h } from "./dom.js";
import { keepDraft } from "./drafts.js";
import { wholeText } from "./editing.js";
import { request } from "./kernel.js";
import { currentCell } from "./lines.js";
import { fail, sentenceOf } from "./messages.js";
import { cellsOf, rowName } from "./names.js";
import { addRow } from "./rowform.js";
import { chosenLines, focusCell } from "./selection.js";
import { redraw } from "./state.js";
import { plural } from "./text.js";

const MANY = 1000; // rows from which on a backup is offered
const BACKING_UP = " backing up…";
const MOST_NAMED = 8; // rows that are listed before their deletion

export async function duplicateRows(studio) {
  for (const line of chosenLines(studio)) {
    try {
      addRow(studio, await copiedValues(studio, line));
    } catch (error) {
      fail(studio, error);
      return;
    }
  }
  studio.selected.clear();
  redraw(studio);
  focusCell(studio);
}

async function copiedValues(studio, line) {
  const values = {};
  for (const column of studio.table.columns) {
    const cell = currentCell(studio, line, column);
    // The key and generated values are assigned anew; a password must be typed.
    if ((column.key && column.default) || !column.editable || isMasked(cell) || cell === undefined) continue;
    values[column.name] = isCut(cell) ? await wholeText(studio, line, column) : textOf(cell);
  }
  return values;
}

export async function askDelete(studio) {
  const lines = chosenLines(studio);
  dropChanges(
    studio,
    lines.filter((l) => l.isNew).map((l) => l.change),
  );
  const rows = lines.filter((l) => !l.isNew);
  if (!rows.length) {
    keepDraft(studio);
    redraw(studio);
    return;
  }
  let cascades;
  try {
    ({ cascades } = await request(studio, "cascade", { table: studio.table.name, keys: rows.map((l) => l.key) }));
  } catch (error) {
    fail(studio, error);
    return;
  }
  const named = rows.slice(0, MOST_NAMED).map((line) => {
    const known = rowName(studio, studio.table, cellsOf(studio, line));
    return h("li", {}, `${keyText(line.key)}${known ? `: ${known}` : ""}`);
  });
  if (rows.length > MOST_NAMED) named.push(h("li", {}, `and ${plural(rows.length - MOST_NAMED, "other row")}`));
  ask(
    studio,
    `Delete ${plural(rows.length, "row")} of ${studio.table.name}?`,
    [
      h("ul", { class: "ph-named" }, ...named),
      consequences(cascades.flat()),
      offerBackup(studio, rows, cascades.flat()),
    ],
    [["Stage the deletion", () => stageDeletion(studio, rows, cascades)]],
  );
}

// Before a large deletion.
function offerBackup(studio, rows, cascades) {
  const total = cascades.reduce((sum, c) => sum + c.rows, rows.length);
  if (total < MANY) return h("p", { class: "ph-quiet" }, "The log keeps every deleted row, and can revert the save.");
  const state = h("span", { role: "status" });
  const back = button("Back up first", async () => {
    if (state.textContent === BACKING_UP) return;
    state.textContent = BACKING_UP;
    try {
      state.textContent = ` backed up: ${(await request(studio, "backup")).name}`;
    } catch (error) {
      state.textContent = ` ${sentenceOf(error)}`;
    }
  });
  return h("p", {}, `These are ${total.toLocaleString("en")} rows in all. `, back, state);
}

function consequences(cascades) {
  const totals = new Map();
  for (const c of cascades) {
    const name = `${c.table} (${c.column}): ${consequence(c)}`;
    totals.set(name, (totals.get(name) ?? 0) + c.rows);
  }
  if (!totals.size) return h("p", {}, "Nothing else refers to it.");
  const rows = (n) => plural(n, "row").replace(/^\d+/, n.toLocaleString("en"));
  return h("ul", {}, ...[...totals].map(([name, n]) => h("li", {}, `${rows(n)} of ${name}`)));
}

function consequence({ on_delete, column }) {
  if (on_delete === "CASCADE") return "deleted with it";
  return on_delete.startsWith("SET") ? `their ${column} is set to ${on_delete.slice(4)}` : "they prevent the deletion";
}

function stageDeletion(studio, rows, cascades) {
  rows.forEach((line, n) => {
    addDeletion(studio, line, Object.fromEntries(cascades[n].map((c) => [`${c.table}.${c.column}`, c.rows])));
  });
  studio.selected.clear();
  keepDraft(studio);
  redraw(studio);
}
