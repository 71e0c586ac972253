// The focused cell, the range of cells from an anchor to it, and the selected rows.

import { h } from "./dom.js";
import { say } from "./messages.js";
import { emit, redraw } from "./state.js";

// Creates a focusable element of the grid.
export function gridCell(studio, tag, r, c, properties, ...children) {
  const cell = h(tag, { tabindex: "-1", "aria-colindex": c + 2, ...properties }, ...children);
  cell.at = { r, c };
  studio.cells.set(`${r}:${c}`, cell);
  return cell;
}

// The row and column of an element of the grid.
export function placeOf(studio, element) {
  for (let e = element; e && e !== studio.ui.grid; e = e.parentElement) if (e.at) return e.at;
  return null;
}

export function activeCell(studio) {
  return studio.cells.get(`${studio.active.r}:${studio.active.c}`);
}

export function selectedRange(studio) {
  const { r, c } = studio.active;
  const a = studio.anchor ?? studio.active;
  return {
    top: Math.max(0, Math.min(r, a.r)),
    bottom: Math.max(r, a.r),
    left: Math.max(0, Math.min(c, a.c)),
    right: Math.max(c, a.c),
  };
}

export function markSelection(studio) {
  markRow(studio);
  emit(studio, "selection");
  const { top, bottom, left, right } = selectedRange(studio);
  const many = studio.anchor !== null;
  for (const [place, cell] of studio.cells) {
    const [r, c] = place.split(":").map(Number);
    const inRange = many && r >= top && r <= bottom && c >= left && c <= right && r >= 0;
    cell.classList.toggle("ph-selected", inRange);
    if (r >= 0)
      cell.setAttribute(
        "aria-selected",
        String(inRange || (c === -1 && studio.selected.has(studio.shownLines[r]?.id))),
      );
    cell.tabIndex = r === studio.active.r && c === studio.active.c ? 0 : -1;
  }
}

// The row that commands refer to, unless others are selected.
function markRow(studio) {
  for (const [n, row] of [...studio.ui.grid.tBodies[0].rows].entries())
    row.classList.toggle("ph-current", n === studio.active.r);
}

export function activate(studio, place) {
  studio.active = { ...place };
  studio.anchor = null;
  markSelection(studio);
}

export function focusCell(studio, scroll = true) {
  const cell = activeCell(studio);
  if (!cell) return;
  cell.focus({ preventScroll: !scroll });
  if (scroll) cell.scrollIntoView({ block: "nearest", inline: "nearest" });
}

export function goTo(studio, r, c, extend = false) {
  if (extend) studio.anchor ??= { ...studio.active };
  else studio.anchor = null;
  const least = extend ? 0 : -1;
  studio.active = {
    r: Math.max(least, Math.min(r, studio.shownLines.length - 1)),
    c: Math.max(least, Math.min(c, studio.columns.length - 1)),
  };
  markSelection(studio);
  focusCell(studio);
}

export function selectAll(studio) {
  studio.anchor = { r: 0, c: 0 };
  studio.active = { r: studio.shownLines.length - 1, c: studio.columns.length - 1 };
  markSelection(studio);
  focusCell(studio);
}

export function toggleRow(studio, r) {
  if (r < 0) return;
  const { id } = studio.shownLines[r];
  if (!studio.selected.delete(id)) studio.selected.add(id);
  studio.lastToggled = id;
  redraw(studio);
}

// Selects the rows from the one that was toggled last to this one.
export function selectRowsTo(studio, r) {
  const from = studio.shownLines.findIndex((line) => line.id === studio.lastToggled);
  const [top, bottom] = from < 0 ? [r, r] : [Math.min(from, r), Math.max(from, r)];
  for (const line of studio.shownLines.slice(top, bottom + 1)) studio.selected.add(line.id);
  redraw(studio);
}

// Selects all rows of the page, or none if all are selected.
export function toggleAllRows(studio) {
  const all = studio.shownLines.every((line) => studio.selected.has(line.id));
  studio.selected = new Set(all ? [] : studio.shownLines.map((line) => line.id));
  redraw(studio);
}

// The rows that an action applies to: the selected ones, or else the focused one.
export function chosenLines(studio) {
  const chosen = studio.shownLines.filter((line, r) =>
    studio.selected.size ? studio.selected.has(line.id) : r === studio.active.r,
  );
  if (!chosen.length) say(studio, "select a row first", true);
  return chosen;
}
