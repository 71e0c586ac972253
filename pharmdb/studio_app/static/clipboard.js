// Copy and paste, in the format of spreadsheets.

import { isCut, textOf } from "./cells.js";
import { addInsert, stage } from "./changes.js";
import { keepDraft } from "./drafts.js";
import { currentCell } from "./lines.js";
import { say } from "./messages.js";
import { isRequired } from "./rowform.js";
import { selectedRange } from "./selection.js";
import { canEdit, redraw, whyNot } from "./state.js";
import { fromTSV, plural, toTSV } from "./text.js";

export function listenToClipboard(studio) {
  studio.ui.grid.addEventListener("copy", (event) => copy(studio, event));
  studio.ui.grid.addEventListener("paste", (event) => paste(studio, event));
}

function copy(studio, event) {
  if (studio.active.r < 0) return;
  const { top, bottom, left, right } = selectedRange(studio);
  const columns = studio.columns.slice(left, right + 1);
  const cells = studio.shownLines
    .slice(top, bottom + 1)
    .map((line) => columns.map((column) => currentCell(studio, line, column)));
  const cut = cells.flat().filter(isCut).length;
  event.preventDefault();
  event.clipboardData.setData("text/plain", toTSV(cells.map((row) => row.map((cell) => textOf(cell ?? null)))));
  const warning = cut ? `; ${plural(cut, "long value")} truncated: export them instead` : "";
  say(studio, `${plural(cells.flat().length, "cell")} copied${warning}`, cut > 0);
}

function paste(studio, event) {
  if (studio.active.r < 0 || !event.clipboardData) return;
  event.preventDefault();
  if (!canEdit(studio)) {
    say(studio, whyNot(studio), true);
    return;
  }
  const { top, left } = selectedRange(studio);
  let staged = 0;
  let outside = 0;
  let added = 0;
  for (const [y, texts] of pastedTexts(studio, event).entries()) {
    // Below the last row of the table, lines become new rows.
    if (!studio.shownLines[top + y] && !studio.page?.has_next) {
      addInsert(studio, pastedRow(studio, left, texts));
      added += 1;
      continue;
    }
    for (const [x, text] of texts.entries()) {
      const taken = pasteInto(studio, studio.shownLines[top + y], studio.columns[left + x], text);
      if (taken === undefined) outside += 1;
      else if (taken) staged += 1;
    }
  }
  keepDraft(studio);
  redraw(studio);
  const rows = added ? `, ${plural(added, "new row")} staged` : "";
  const warning = outside ? `; ${plural(outside, "value")} outside the table or not editable` : "";
  say(studio, `${plural(staged, "cell")} pasted and staged${rows}${warning}`, outside > 0);
}

function pastedRow(studio, left, texts) {
  const cells = texts.map((text, x) => [studio.columns[left + x], text]);
  const usable = cells.filter(([c, text]) => c?.editable && c.kind !== "password" && (text !== "" || isRequired(c)));
  return Object.fromEntries(usable.map(([c, text]) => [c.name, text]));
}

// One value fills the whole selection, as in a spreadsheet.
function pastedTexts(studio, event) {
  const texts = fromTSV(event.clipboardData.getData("text/plain"));
  const { top, left, bottom, right } = selectedRange(studio);
  if (texts.length !== 1 || texts[0].length !== 1 || !studio.anchor) return texts;
  return Array.from({ length: bottom - top + 1 }, () => Array(right - left + 1).fill(texts[0][0]));
}

// Whether the text was staged; undefined if there is no editable cell for it.
function pasteInto(studio, line, column, text) {
  if (!column || !line || !column.editable || column.kind === "password" || line.change?.kind === "delete")
    return undefined;
  const now = currentCell(studio, line, column);
  // Spreadsheets have no NULL, so an empty text leaves NULL and empty cells unchanged.
  if (text === "" && (now === null || now === "" || now === undefined)) return false;
  stage(studio, line, column, text === "" && column.nullable ? null : text);
  return true;
}
