// Editing of cells, and which cells can be edited.

import { isCut, isMasked, textOf } from "./cells.js";
import { stage } from "./changes.js";
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { openEditor } from "./editor.js";
import { request } from "./kernel.js";
import { currentCell, isStaged } from "./lines.js";
import { fail, say } from "./messages.js";
import { goTo, selectedRange } from "./selection.js";
import { canEdit, redraw, whyNot } from "./state.js";

// Edits a cell; `typed` is the key that started the edit.
export async function edit(studio, { r, c }, typed = null) {
  const line = studio.shownLines[r];
  const column = studio.columns[c];
  if (!line || !column) return;
  goTo(studio, r, c);
  const cell = currentCell(studio, line, column);
  const refusal = refusalOf(studio, line, column);
  if (refusal && isCut(cell) && line.key.length) {
    await showWhole(studio, line, column);
    return;
  }
  if (refusal) {
    say(studio, refusal, true);
    return;
  }
  if (isMasked(cell) && column.kind !== "password") {
    say(studio, `part of ${column.name} is masked, so it can't be edited here`, true);
    return;
  }
  let text = textOf(cell ?? null);
  if (isCut(cell) && !isStaged(line, column)) {
    try {
      text = await wholeText(studio, line, column);
    } catch (error) {
      fail(studio, error);
      return;
    }
  }
  openEditor(studio, line, column, text, typed);
}

function refusalOf(studio, line, column) {
  if (!canEdit(studio)) return whyNot(studio);
  if (line.change?.kind === "delete") return "this row is staged for deletion";
  return column.editable ? "" : `${column.name} can't be edited here`;
}

// The full text of a truncated cell.
export async function wholeText(studio, line, column) {
  return (await request(studio, "cell", { table: studio.table.name, key: line.key, column: column.name })).text;
}

async function showWhole(studio, line, column) {
  try {
    const text = await wholeText(studio, line, column);
    ask(studio, column.name, [h("pre", { class: "ph-whole", tabindex: "0" }, text ?? "NULL")], []);
  } catch (error) {
    fail(studio, error);
  }
}

// Sets all selected cells to NULL.
export function clearCells(studio) {
  const { top, bottom, left, right } = selectedRange(studio);
  const editable = studio.columns
    .slice(left, right + 1)
    .filter((c) => canEdit(studio) && c.editable && c.kind !== "password");
  for (const line of studio.shownLines.slice(top, bottom + 1)) {
    for (const column of editable) if (column.nullable) stage(studio, line, column, null);
  }
  redraw(studio);
  const refused = editable.filter((c) => !c.nullable).map((c) => c.name);
  if (refused.length) say(studio, `${refused.join(", ")} can't be NULL`, true);
}
