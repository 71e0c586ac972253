// Sets one value in all selected rows, or in all rows of the present filters. Each row becomes a staged change.

import { stageAll } from "./changes.js";
import { controlFor, misfit } from "./controls.js";
import { ask } from "./dialog.js";
import { button, h } from "./dom.js";
import { request } from "./kernel.js";
import { findChange } from "./lines.js";
import { fail, say } from "./messages.js";
import { wanted } from "./pages.js";
import { canEdit, idOf, redraw, whyNot } from "./state.js";
import { plural } from "./text.js";

export const buildBulk = (studio) => button("Set value…", () => askValue(studio));

function askValue(studio) {
  if (!canEdit(studio)) {
    say(studio, whyNot(studio), true);
    return;
  }
  const id = idOf(studio, "bulk");
  const columns = studio.table.columns.filter((c) => c.editable && !c.key && c.kind !== "password");
  const at = studio.columns[studio.active.c];
  const selected = studio.shownLines.filter((line) => studio.selected.has(line.id) && line.change?.kind !== "delete");
  const chosen = h(
    "select",
    { id: `${id}-column`, onchange: () => redrawControl() },
    ...columns.map((c) => h("option", { value: c.name, selected: c === at }, c.name)),
  );
  const place = h("div");
  const nothing = h("input", { type: "checkbox", id: `${id}-null` });
  const nothingLabel = h("span", {}, nothing, h("label", { for: `${id}-null` }, " NULL"));
  const wrong = h("p", { role: "alert", class: "ph-sentence" });
  const columnOf = () => columns.find((c) => c.name === chosen.value);
  let value = null;
  const redrawControl = () => {
    value = controlFor(studio, columnOf(), `${id}-value`, null, null);
    value.control.addEventListener("input", () => {
      nothing.checked = false;
    });
    place.replaceChildren(...[value.control, value.extra].filter(Boolean));
    nothing.checked = false;
    nothingLabel.hidden = !columnOf().nullable;
  };
  redrawControl();
  const scope = (name, label, checked) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name: id, value: name, checked, disabled: name === "selected" && !selected.length }),
      ` ${label}`,
    );
  const where = studio.page?.where ? ` where ${studio.page.where}` : ` of ${studio.table.name}`;
  const scopes = h(
    "fieldset",
    {},
    h("legend", {}, "In"),
    scope("selected", `the selected rows of this page: ${selected.length}`, selected.length > 0),
    scope(
      "all",
      `all rows${where}${studio.count?.exact ? `: ${studio.count.rows.toLocaleString("en")}` : ""}`,
      !selected.length,
    ),
  );
  const done = () => {
    const text = nothing.checked ? null : value.read();
    wrong.textContent = text === null ? "" : misfit(columnOf(), text);
    if (wrong.textContent) return false;
    const all = scopes.querySelector(":checked").value === "all";
    if (all) stageFiltered(studio, columnOf(), text);
    else finish(studio, stageAll(studio, selected, columnOf(), text));
    return true;
  };
  ask(
    studio,
    `Set a value in many rows of ${studio.table.name}`,
    [
      h("p", {}, h("label", { for: `${id}-column` }, "Column "), chosen),
      h("p", {}, h("label", { for: `${id}-value` }, "New value")),
      place,
      nothingLabel,
      scopes,
      wrong,
    ],
    [["Stage the changes", done]],
  );
}

async function stageFiltered(studio, column, text) {
  const { table } = studio;
  let found;
  try {
    found = await request(studio, "rows", wanted(studio));
  } catch (error) {
    fail(studio, error);
    return;
  }
  if (studio.table !== table) return;
  const changes = findChange(studio);
  const lines = found.rows.map((row) => ({ ...row, isNew: false, change: changes(row.key) }));
  finish(studio, stageAll(studio, lines, column, text));
}

function finish(studio, { staged, same }) {
  redraw(studio);
  const unchanged = same ? `, ${plural(same, "row")} had this value already` : "";
  say(studio, `${plural(staged, "change")} staged${unchanged}`);
}
