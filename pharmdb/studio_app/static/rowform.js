// The form for a new row: one field for each column, the required ones marked.

import { KIND_NAMES } from "./cells.js";
import { addInsert } from "./changes.js";
import { controlFor, misfit } from "./controls.js";
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { keepDraft } from "./drafts.js";
import { linesOf } from "./lines.js";
import { say } from "./messages.js";
import { focusCell } from "./selection.js";
import { canEdit, idOf, redraw, whyNot } from "./state.js";

export const isRequired = (column) => column.kind === "password" || (!column.nullable && !column.default);

export function addRow(studio, values = {}, password = undefined) {
  if (!canEdit(studio)) {
    say(studio, whyNot(studio), true);
    return;
  }
  const change = addInsert(studio, values);
  if (password !== undefined) change.password = password;
  studio.active = { r: linesOf(studio).filter((l) => l.isNew).length - 1, c: 0 };
  studio.anchor = null;
  keepDraft(studio);
  redraw(studio);
  focusCell(studio);
}

export function askRow(studio) {
  const id = idOf(studio, "new");
  const columns = studio.table.columns.filter((c) => c.editable);
  const sorted = [...columns.filter(isRequired), ...columns.filter((c) => !isRequired(c))];
  const fields = sorted.map((column) => drawField(studio, column, `${id}-${column.name}`));
  const stageRow = () => {
    const wrong = fields.filter((field) => !field.check());
    if (wrong.length) {
      wrong[0].control.focus();
      return false;
    }
    const values = Object.fromEntries(
      fields.filter((f) => f.isGiven() && f.column.kind !== "password").map((f) => [f.column.name, f.read()]),
    );
    const typed = fields.find((f) => f.column.kind === "password");
    addRow(studio, values, typed?.read());
    return true;
  };
  const another = () => {
    if (stageRow()) setTimeout(() => askRow(studio));
    else return false;
    return true;
  };
  ask(
    studio,
    `New row of ${studio.table.name}`,
    [h("p", { class: "ph-quiet" }, "* must be filled in"), h("div", { class: "ph-form" }, ...fields.map((f) => f.box))],
    [
      ["Stage the row", stageRow],
      ["Stage, and add another", another],
    ],
  );
}

// A list begins with an empty choice, so that the default can be left to the database.
const asList = (column) =>
  column.kind === "boolean" ? { ...column, kind: "enum", values: ["true", "false"] } : column;

const defaultOf = (column) => (/\bnow\b|current_timestamp/i.test(column.default) ? "now" : column.default);

function drawField(studio, column, id) {
  const required = isRequired(column);
  const { control, read, extra } = controlFor(studio, asList(column), id, null, null);
  if (control.tagName === "SELECT")
    control.prepend(h("option", { value: "", selected: true }, required ? "choose" : ""));
  if (control.tagName === "SELECT") control.value = "";
  const wrong = h("p", { class: "ph-sentence", id: `${id}-wrong`, role: "alert" });
  let touched = false;
  for (const event of ["input", "change"])
    control.addEventListener(event, () => {
      touched = true;
    });
  const hint = required ? "" : column.default ? `default: ${defaultOf(column)}` : "may be NULL";
  control.setAttribute("aria-required", String(required));
  control.setAttribute("aria-describedby", `${id}-wrong ${id}-hint`);
  // A text field can be left empty on purpose; every other empty field means the default.
  const isText = ["text", "raw", "any"].includes(column.kind);
  const isGiven = () => read() !== "" || (isText && touched);
  const check = () => {
    const given = isGiven();
    wrong.textContent = given ? misfit(column, read()) : required ? `${column.name} must be filled in` : "";
    control.setAttribute("aria-invalid", String(Boolean(wrong.textContent)));
    return !wrong.textContent;
  };
  const label = h("label", { for: id }, `${column.name}${required ? " *" : ""}`);
  const about = [KIND_NAMES[column.kind], column.doc, hint].filter(Boolean).join(" · ");
  const box = h(
    "div",
    { class: "ph-field" },
    label,
    control,
    extra,
    h("p", { class: "ph-quiet", id: `${id}-hint` }, about),
    wrong,
  );
  return { column, control, read, box, check, isGiven };
}
