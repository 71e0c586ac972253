// The panel of a table's columns: their properties and layout.

import { KIND_NAMES } from "./cells.js";
import { button, h, plainTable } from "./dom.js";
import { layoutOf, moveColumn, orderedColumns, resetLayout, toggleColumn, widen } from "./layout.js";
import { on } from "./state.js";

const HEAD = ["column", "type", "key", "NULL", "default", "description", "shown", "pinned", "position and width"];

export function useColumns(studio) {
  const refresh = () => {
    if (studio.shown === "columns") drawColumns(studio);
  };
  on(studio, "view", refresh);
  on(studio, "layout", refresh);
}

export function drawColumns(studio) {
  if (!studio.table) return;
  const panel = studio.ui.panels.columns;
  const focused = panel.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  const rows = orderedColumns(studio).map((column) => drawColumn(studio, column));
  panel.replaceChildren(
    h("p", {}, notesOn(studio.table)),
    plainTable("Columns", HEAD, rows, { caption: `Columns of ${studio.table.name}` }),
    button("Reset layout", () => resetLayout(studio)),
  );
  if (focused)
    [...panel.querySelectorAll("[aria-label]")].find((e) => e.getAttribute("aria-label") === focused)?.focus();
}

function notesOn({ model, readOnly, children }) {
  const referring = children.map((c) => `${c.table}.${c.column} (on delete ${c.on_delete.toLowerCase()})`);
  return [
    model && `Model ${model}.`,
    readOnly && `Read-only: ${readOnly}.`,
    referring.length && `Referenced by ${referring.join(", ")}.`,
  ]
    .filter(Boolean)
    .join(" ");
}

function drawColumn(studio, c) {
  const { hidden, pinned } = layoutOf(studio);
  const check = (list, label, checked) =>
    h("input", {
      type: "checkbox",
      "aria-label": `${label} ${c.name}`,
      checked,
      onchange: () => toggleColumn(studio, list, c),
    });
  const facts = [c.key && "primary key", c.unique && "unique", c.references && `→ ${c.references.join(".")}`];
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, c.name),
    h("td", {}, `${c.type} · ${KIND_NAMES[c.kind]}${c.values.length ? `: ${c.values.join(", ")}` : ""}`),
    h("td", {}, facts.filter(Boolean).join(", ")),
    h("td", {}, c.nullable ? "may be NULL" : "not NULL"),
    h("td", {}, c.default),
    h("td", {}, c.doc),
    h("td", {}, check("hidden", "show", !hidden.includes(c.name))),
    h("td", {}, check("pinned", "pin", pinned.includes(c.name))),
    h(
      "td",
      {},
      button("↑", () => moveColumn(studio, c, -1), { "aria-label": `Move ${c.name} to the front` }),
      button("↓", () => moveColumn(studio, c, 1), { "aria-label": `Move ${c.name} to the back` }),
      button("−", () => widen(studio, c, -30), { "aria-label": `Make ${c.name} narrower` }),
      button("+", () => widen(studio, c, 30), { "aria-label": `Make ${c.name} wider` }),
    ),
  );
}
