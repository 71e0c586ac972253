// Mouse control of the grid, and the corresponding events from screen readers.

import { edit } from "./editing.js";
import { activate, goTo, placeOf, selectRowsTo, toggleAllRows, toggleRow } from "./selection.js";

export function listenToMouse(studio) {
  const { grid } = studio.ui;
  const drag = { on: false };
  grid.addEventListener("mousedown", (event) => press(studio, event, drag));
  grid.addEventListener("mouseover", (event) => {
    if (drag.on) extendTo(studio, event);
  });
  grid.addEventListener("dblclick", (event) => {
    const at = placeOf(studio, event.target);
    if (at && at.r >= 0) edit(studio, at);
  });
  // Screen readers move the focus themselves.
  grid.addEventListener("focusin", ({ target: { at } }) => {
    if (at && !isActive(studio, at)) activate(studio, at);
  });
}

const isActive = ({ active }, { r, c }) => r === active.r && c === active.c;

function press(studio, event, drag) {
  const at = placeOf(studio, event.target);
  if (!at || event.button !== 0 || event.target.closest("button, .ph-grip")) return;
  if (at.r < 0) {
    activate(studio, at);
    if (at.c < 0) toggleAllRows(studio);
    return;
  }
  event.preventDefault();
  if (at.c === -1) {
    goTo(studio, at.r, at.c);
    if (event.shiftKey) selectRowsTo(studio, at.r);
    else toggleRow(studio, at.r);
    return;
  }
  goTo(studio, at.r, at.c, event.shiftKey);
  drag.on = true;
  window.addEventListener(
    "mouseup",
    () => {
      drag.on = false;
    },
    { once: true },
  );
}

function extendTo(studio, event) {
  const at = placeOf(studio, event.target);
  if (at && at.r >= 0 && at.c >= 0 && !isActive(studio, at)) goTo(studio, at.r, at.c, true);
}
