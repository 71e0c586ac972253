// Filters: a column, an operator, and the values to compare with.

import { button, h } from "./dom.js";
import { go } from "./pages.js";
import { on } from "./state.js";
import { fromTSV, toTSV } from "./text.js";

const OPERATORS_WITHOUT_VALUE = new Set(["is empty", "is not empty"]);
// Commas outside quotes.
const COMMAS = /\s*,\s*(?=(?:[^"]*"[^"]*")*[^"]*$)/g;

export function buildFilters(studio) {
  studio.ui.filterBox = h("div", { class: "ph-filters" });
  on(studio, "view", () => drawFilters(studio));
  return studio.ui.filterBox;
}

export function addFilter(studio) {
  const [first] = studio.table.columns.filter((c) => !c.secret);
  drawFilters(studio, [
    ...studio.query.filters,
    { column: first.name, operator: "contains", value: "", upper: "", items: [], isNew: true },
  ]);
  studio.ui.filterBox.querySelector(".ph-filter:last-of-type select")?.focus();
}

function drawFilters(studio, filters = studio.query.filters) {
  const { filterBox } = studio.ui;
  const all = studio.query.match === "all";
  const match = h(
    "select",
    { "aria-label": "How filters combine", onchange: (event) => go(studio, { match: event.target.value }) },
    h("option", { value: "all", selected: all }, "match all"),
    h("option", { value: "any", selected: !all }, "match any"),
  );
  const boxes = filters.map((filter, n) => drawFilter(studio, filter, n, filters));
  filterBox.replaceChildren(
    ...boxes,
    ...(filters.length > 1 ? [match] : []),
    ...(filters.length
      ? [
          button("Apply", () => applyFilters(studio)),
          button("Clear filters", () => go(studio, { filters: [], match: "all" })),
        ]
      : []),
  );
  filterBox.hidden = !filters.length;
}

function drawFilter(studio, filter, n, filters) {
  const name = `Filter ${n + 1}`;
  const columns = h(
    "select",
    { "aria-label": `${name}: column` },
    ...studio.table.columns.map((c) => h("option", { value: c.name, selected: c.name === filter.column }, c.name)),
  );
  const operators = h(
    "select",
    { "aria-label": `${name}: comparison`, onchange: () => redrawFields() },
    ...studio.info.operators.map((o) => h("option", { value: o, selected: o === filter.operator }, o)),
  );
  const fields = h("span");
  const redrawFields = () => fields.replaceChildren(...drawFields(studio, name, filter, operators.value));
  redrawFields();
  const remove = () => {
    filters.splice(n, 1);
    go(studio, { filters: filters.filter((f) => !f.isNew) });
  };
  const box = h(
    "div",
    { class: "ph-filter", role: "group", "aria-label": name },
    columns,
    operators,
    fields,
    button("✕", remove, { "aria-label": `Remove filter ${n + 1}` }),
  );
  box.read = () => ({ column: columns.value, operator: operators.value, ...readFields(fields) });
  return box;
}

function drawFields(studio, name, filter, operator) {
  const onkeydown = (event) => {
    if (event.key === "Enter") applyFilters(studio);
  };
  const input = (field, value, label, placeholder = label) =>
    h("input", { type: "text", name: field, value, "aria-label": `${name}: ${label}`, onkeydown, placeholder });
  if (OPERATORS_WITHOUT_VALUE.has(operator)) return [];
  if (operator === "between") return [input("value", filter.value, "from"), input("upper", filter.upper, "to")];
  if (operator === "in") return [input("items", toTSV([filter.items]).replace(/\t/g, ", "), "values", "a, b, c")];
  return [input("value", filter.value, "value")];
}

function readFields(fields) {
  const field = (name) => fields.querySelector(`[name=${name}]`);
  // Values of `in` are separated by commas; a value with a comma is quoted.
  const items = field("items") ? fromTSV(field("items").value.replace(COMMAS, "\t"))[0] : [];
  return { value: field("value")?.value ?? "", upper: field("upper")?.value ?? "", items };
}

function applyFilters(studio) {
  go(studio, { filters: [...studio.ui.filterBox.querySelectorAll(".ph-filter")].map((box) => box.read()) });
}
