// The editor of one cell: a dialog beside it.

import { KIND_NAMES } from "./cells.js";
import { stage, stagePassword } from "./changes.js";
import { controlFor, misfit } from "./controls.js";
import { button, h } from "./dom.js";
import { activeCell, focusCell } from "./selection.js";
import { idOf, redraw } from "./state.js";

const MARGIN = 8;

export function openEditor(studio, line, column, text, typed) {
  const id = idOf(studio, "editor");
  const { control, long, read, extra } = controlFor(studio, column, id, text, typed);
  const isNull = text === null && typed === null && !line.isNew;
  const nothing = column.nullable ? h("input", { type: "checkbox", id: `${id}-null`, checked: isNull }) : null;
  const wrong = h("p", { role: "alert", class: "ph-sentence" });
  const check = () => {
    wrong.textContent = nothing?.checked ? "" : misfit(column, read());
    return !wrong.textContent;
  };
  const touched = () => {
    if (nothing) nothing.checked = false;
    check();
  };
  control.addEventListener("input", touched);
  const close = () => {
    dialog.close();
    dialog.remove();
    redraw(studio);
    focusCell(studio);
  };
  const done = () => {
    if (!check()) {
      control.focus();
      return;
    }
    if (column.kind === "password") stagePassword(studio, line, control.value);
    else stage(studio, line, column, nothing?.checked ? null : read(), text);
    close();
  };
  const now = () => {
    control.value = new Date().toISOString().slice(0, 19);
    touched();
  };
  const format = () => {
    if (check()) control.value = JSON.stringify(JSON.parse(control.value), null, 2);
  };
  const dialog = h(
    "dialog",
    { class: "ph-dialog ph-editor", "aria-label": `Edit ${column.name}`, tabindex: "-1" },
    h("label", { for: id }, `${column.name}, ${KIND_NAMES[column.kind]}`),
    control,
    extra,
    nothing && h("span", { class: "ph-null-choice" }, nothing, h("label", { for: `${id}-null` }, "NULL")),
    wrong,
    h(
      "div",
      { class: "ph-bar" },
      button("OK", done),
      button("Cancel", close),
      column.kind === "datetime" && button("Now", now),
      column.kind === "json" && button("Format", format),
      h("span", { class: "ph-quiet" }, long ? "Ctrl+Enter: OK" : ""),
    ),
  );
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter" && !event.isComposing && event.target === control && (!long || event.ctrlKey)) {
      event.preventDefault();
      done();
    }
  });
  studio.ui.root.append(dialog);
  dialog.showModal();
  placeBeside(dialog, activeCell(studio));
  control.focus();
  if (control.select && typed === null) control.select();
}

// Below the cell, and within the window.
function placeBeside(dialog, cell) {
  const box = cell?.getBoundingClientRect();
  if (!box) return;
  const within = (wished, space) => `${Math.max(MARGIN, Math.min(wished, space - MARGIN))}px`;
  dialog.style.left = within(box.left, innerWidth - dialog.offsetWidth);
  dialog.style.top = within(box.bottom, innerHeight - dialog.offsetHeight);
}
