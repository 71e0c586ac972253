// Keyboard control of the grid. Each function returns the action for a key, if it has one.

import { textOf } from "./cells.js";
import { stage } from "./changes.js";
import { clearCells, edit } from "./editing.js";
import { openFacet } from "./facets.js";
import { moveColumn, toggleColumn, widen } from "./layout.js";
import { currentCell } from "./lines.js";
import { sortBy, turn } from "./pages.js";
import { follow, showRelated } from "./relations.js";
import {
  activate,
  focusCell,
  goTo,
  placeOf,
  selectAll,
  selectedRange,
  selectRowsTo,
  toggleAllRows,
  toggleRow,
} from "./selection.js";
import { canEdit, redraw } from "./state.js";

export function listenToKeys(studio) {
  studio.ui.grid.addEventListener("keydown", (event) => {
    if (
      !placeOf(studio, event.target) ||
      event.isComposing ||
      (event.target.tagName === "BUTTON" && event.key === "Enter")
    )
      return;
    const action =
      headAction(studio, event) ??
      moveAction(studio, event) ??
      pageAction(studio, event) ??
      rowAction(studio, event) ??
      cellAction(studio, event);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  });
}

const hasControl = (event) => event.ctrlKey || event.metaKey;

// Keys on a column heading.
function headAction(studio, event) {
  const { r, c } = studio.active;
  if (r === -1 && c === -1 && (event.key === " " || event.key === "Enter")) return () => toggleAllRows(studio);
  if (r !== -1 || c < 0) return null;
  const column = studio.columns[c];
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (event.key === "Enter") return () => sortBy(studio, column, event.shiftKey);
  if (event.altKey && by && event.shiftKey) return () => widen(studio, column, by * 20);
  if (event.altKey && by)
    return () => {
      studio.active.c = Math.max(0, Math.min(studio.columns.length - 1, c + by));
      moveColumn(studio, column, by);
    };
  if (event.key === "p" || event.key === "P") return () => toggleColumn(studio, "pinned", column);
  if (event.key === "f" || event.key === "F") return () => openFacet(studio, column);
  if (event.key === "h" || event.key === "H") return () => toggleColumn(studio, "hidden", column);
  return null;
}

// Keys that move between cells.
function moveAction(studio, event) {
  const { r, c } = studio.active;
  const lastRow = studio.shownLines.length - 1;
  const lastColumn = studio.columns.length - 1;
  const control = hasControl(event);
  const moves = {
    ArrowDown: [r + 1, c],
    ArrowUp: [r - 1, c],
    ArrowRight: [r, c + 1],
    ArrowLeft: [r, c - 1],
    Home: control ? [0, 0] : [r, 0],
    End: [control ? lastRow : r, lastColumn],
  };
  if (!moves[event.key] || event.altKey) return null;
  return () => goTo(studio, ...moves[event.key], event.shiftKey);
}

// Keys for the page and all staged changes.
function pageAction(studio, event) {
  const turnTo = async (where) => {
    await turn(studio, where);
    focusCell(studio);
  };
  if (event.key === "PageDown")
    return () => {
      if (studio.page?.has_next) turnTo("next");
    };
  if (event.key === "PageUp")
    return () => {
      if (studio.page?.has_previous) turnTo("previous");
    };
  if (hasControl(event) && event.key === "a") return () => selectAll(studio);
  return null;
}

function rowAction(studio, event) {
  const { r, c } = studio.active;
  if (r < 0) return null;
  if (event.key === " " && event.shiftKey && studio.anchor) return () => selectRange(studio);
  if (event.key === " " && (c === -1 || !canEdit(studio) || event.shiftKey)) return () => toggleRow(studio, r);
  if (event.altKey && event.key === "Enter") return () => showRelated(studio);
  return null;
}

// Selects the rows of the selected cells.
function selectRange(studio) {
  const { top, bottom } = selectedRange(studio);
  studio.lastToggled = studio.shownLines[top].id;
  selectRowsTo(studio, bottom);
}

function cellAction(studio, event) {
  const { r, c } = studio.active;
  if (r < 0 || c === -1) return null;
  const line = studio.shownLines[r];
  const column = studio.columns[c];
  const cell = currentCell(studio, line, column);
  if (hasControl(event) && event.key === "Enter")
    return () => {
      if (column.references && typeof cell === "string") follow(studio, column, cell);
    };
  if (event.key === "Enter" || event.key === "F2") return () => edit(studio, studio.active);
  if (event.key === "Escape" && studio.anchor) return () => activate(studio, studio.active);
  if (event.key === "Delete") return () => clearCells(studio);
  if (event.key === " " && column.kind === "boolean")
    return () => {
      stage(studio, line, column, textOf(cell) === "true" ? "false" : "true");
      redraw(studio);
    };
  if (event.key.length === 1 && !hasControl(event) && !event.altKey)
    return () => edit(studio, studio.active, event.key);
  return null;
}
