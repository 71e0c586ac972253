// Filters: a column, an operator, and the values to compare with. What is typed stays until it is applied or removed.

import { button, h } from "./dom.js";
import { go } from "./pages.js";
import { columnAt, columnPaths } from "./paths.js";
import { idOf, on } from "./state.js";
import { fromTSV, toTSV } from "./text.js";

const WITHOUT_VALUE = new Set(["is empty", "is not empty", "is NULL", "is not NULL"]);
const MOST_BOXES = 12; // values of a list that are shown as checkboxes
// Commas outside quotes.
const COMMAS = /\s*,\s*(?=(?:[^"]*"[^"]*")*[^"]*$)/g;

const sameFilter = (a, b) => JSON.stringify(contentsOf(a)) === JSON.stringify(contentsOf(b));
const contentsOf = ({ column, operator, value = "", upper = "", items = [] }) => ({
  column,
  operator,
  value,
  upper,
  items,
});

export function buildFilters(studio) {
  studio.ui.filterBox = h("div", { class: "ph-filters", hidden: true });
  on(studio, "table", () => {
    studio.drafts = [];
    studio.filtersShown = null;
  });
  on(studio, "view", syncFilters);
  on(studio, "refused", showRefusal);
  return studio.ui.filterBox;
}

// The applied filters, and after them those that are still being typed.
function syncFilters(studio) {
  const { filters, match } = studio.query;
  const shown = JSON.stringify([filters, match]);
  if (shown === studio.filtersShown) return;
  studio.filtersShown = shown;
  readDrafts(studio);
  const typed = studio.drafts.filter((d) => d.isNew && !filters.some((f) => sameFilter(f, d)));
  studio.drafts = [...filters.map(contentsOf), ...typed];
  drawFilters(studio);
}

// Filters that the kernel refused stay as they were typed, with the reason at the one that is wrong.
function showRefusal(studio) {
  const { filters, error } = studio.refusal;
  studio.drafts = filters.map((filter, n) => ({
    ...contentsOf(filter),
    isNew: !studio.query.filters.some((f) => sameFilter(f, filter)),
    problem: n === error.filter ? error.sentence : "",
  }));
  drawFilters(studio);
  studio.ui.filterBox.children[error.filter]?.querySelector("[name]")?.focus();
}

export function addFilter(studio) {
  readDrafts(studio);
  const first = studio.table.columns.find((c) => !c.secret) ?? studio.table.columns[0];
  const operator = first.operators.includes("contains") ? "contains" : first.operators[0];
  studio.drafts.push({ column: first.name, operator, value: "", upper: "", items: [], isNew: true });
  drawFilters(studio);
  boxesOf(studio).at(-1)?.querySelector("select")?.focus();
}

// Applies one more filter, such as one that was clicked in a facet; it takes the place of an equal comparison.
export function alsoFilter(studio, filter) {
  const others = studio.query.filters.filter((f) => f.column !== filter.column || f.operator !== filter.operator);
  return go(studio, { filters: [...others, contentsOf(filter)], match: "all" });
}

const boxesOf = (studio) => [...studio.ui.filterBox.querySelectorAll(".ph-filter")];

function readDrafts(studio) {
  for (const [n, box] of boxesOf(studio).entries()) if (studio.drafts[n]) Object.assign(studio.drafts[n], box.read());
}

function drawFilters(studio) {
  const { filterBox } = studio.ui;
  const { drafts } = studio;
  const all = studio.query.match === "all";
  const match = h(
    "select",
    { "aria-label": "How filters combine", onchange: (event) => go(studio, { match: event.target.value }) },
    h("option", { value: "all", selected: all }, "match all"),
    h("option", { value: "any", selected: !all }, "match any"),
  );
  filterBox.replaceChildren(
    ...drafts.map((draft, n) => drawFilter(studio, draft, n)),
    ...(drafts.length > 1 ? [match] : []),
    ...(drafts.length
      ? [button("Apply", () => applyFilters(studio)), button("Clear filters", () => clearFilters(studio))]
      : []),
  );
  filterBox.hidden = !drafts.length;
}

// `more` is a change of the view that goes with it.
export function clearFilters(studio, more = {}) {
  boxesOf(studio).forEach((box) => {
    box.remove();
  });
  studio.drafts = [];
  studio.filtersShown = null;
  go(studio, { filters: [], match: "all", ...more });
}

function removeFilter(studio, n) {
  readDrafts(studio);
  const [removed] = studio.drafts.splice(n, 1);
  drawFilters(studio);
  if (!removed.isNew) go(studio, { filters: studio.drafts.filter((d) => !d.isNew).map(contentsOf) });
  (boxesOf(studio)[Math.max(0, n - 1)]?.querySelector("select") ?? studio.ui.addFilter)?.focus();
}

function applyFilters(studio) {
  readDrafts(studio);
  return go(studio, { filters: studio.drafts.map(contentsOf) });
}

function drawFilter(studio, draft, n) {
  const name = `Filter ${n + 1}`;
  const columns = h(
    "select",
    { "aria-label": `${name}: column`, onchange: () => redraw(true) },
    ...columnPaths(studio).flatMap(([group, paths]) => {
      const options = paths.map((path) => h("option", { value: path, selected: path === draft.column }, path));
      return group ? h("optgroup", { label: group }, ...options) : options;
    }),
  );
  const operators = h("select", { "aria-label": `${name}: comparison`, onchange: () => redraw(false) });
  const fields = h("span", { class: "ph-fields" });
  const redraw = (isOther) => {
    const column = columnAt(studio, columns.value);
    const wished = operators.value || draft.operator;
    const chosen = column.operators.includes(wished) ? wished : column.operators[0];
    operators.replaceChildren(
      ...column.operators.map((o) =>
        h("option", { value: o, selected: o === chosen }, o === "last days" ? "last … days" : o),
      ),
    );
    const typed = fields.children.length ? readFields(fields) : draft;
    const kept = isOther && column.kind === "enum" ? { value: "", upper: "", items: [] } : typed;
    fields.replaceChildren(...drawFields(studio, name, kept, column, chosen));
  };
  redraw(false);
  const problem = draft.problem && h("p", { class: "ph-sentence", id: idOf(studio, `filter-${n}`) }, draft.problem);
  if (problem)
    for (const field of fields.querySelectorAll("[name]")) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", problem.id);
    }
  const box = h(
    "div",
    { class: `ph-filter${draft.isNew ? " ph-typed" : ""}`, role: "group", "aria-label": name },
    columns,
    operators,
    fields,
    button("✕", () => removeFilter(studio, n), { "aria-label": `Remove filter ${n + 1}` }),
    problem,
  );
  box.read = () => ({ column: columns.value, operator: operators.value, ...readFields(fields) });
  return box;
}

function drawFields(studio, name, filter, column, operator) {
  const onkeydown = (event) => {
    if (event.key === "Enter") applyFilters(studio);
  };
  const input = (field, value, label, more = {}) =>
    h("input", {
      type: "text",
      name: field,
      value,
      "aria-label": `${name}: ${label}`,
      placeholder: label,
      onkeydown,
      ...more,
    });
  const one = (field, label) => {
    const value = filter[field] ?? "";
    if (column.kind === "datetime" || column.kind === "date") return dayFields(input, field, value, label, column);
    const options = column.kind === "boolean" ? ["true", "false"] : column.values;
    if (options.length) return [choice(field, value, `${name}: ${label}`, options, onkeydown)];
    return [input(field, value, label)];
  };
  if (WITHOUT_VALUE.has(operator)) return [];
  if (operator === "last days")
    return [
      input("value", /^\d+$/.test(filter.value) ? filter.value : "7", "days", { type: "number", min: "1" }),
      " days",
    ];
  if (operator === "between") return [...one("value", "from"), ...one("upper", "to")];
  if (operator === "in" && column.values.length && column.values.length <= MOST_BOXES)
    return column.values.map((value) =>
      h(
        "label",
        {},
        h("input", { type: "checkbox", name: "items", value, checked: filter.items.includes(value), onkeydown }),
        value,
      ),
    );
  if (operator === "in")
    return [input("items", toTSV([filter.items]).replace(/\t/g, ", "), "values", { placeholder: "a, b, c" })];
  return one("value", "value");
}

function choice(name, value, label, options, onkeydown) {
  return h(
    "select",
    { name, "aria-label": label, onkeydown },
    ...options.map((o) => h("option", { value: o, selected: o === value }, o)),
  );
}

// A day, or with its button a day and a time of day.
function dayFields(input, field, value, label, column) {
  const isTime = /\d[T ]\d/.test(value);
  const box = input(field, value.replace(" ", "T"), label, {
    type: isTime ? "datetime-local" : "date",
    ...(isTime ? { step: "0.001" } : {}),
  });
  if (column.kind === "date") return [box];
  const toggle = button(
    "time",
    () => {
      const day = box.value;
      const timed = box.type === "date";
      toggle.setAttribute("aria-pressed", String(timed));
      box.type = timed ? "datetime-local" : "date";
      box.step = timed ? "0.001" : "";
      box.value = timed ? day && `${day}T00:00` : day.slice(0, 10);
      box.focus();
    },
    {
      "aria-label": `${box.getAttribute("aria-label")}: with the time of day`,
      "aria-pressed": String(isTime),
      title: "UTC",
    },
  );
  return [box, toggle];
}

function readFields(fields) {
  const boxes = [...fields.querySelectorAll("[name=items]")];
  const field = (name) => fields.querySelector(`[name=${name}]`)?.value ?? "";
  // Values of `in` are separated by commas; a value with a comma is quoted.
  const items = boxes.some((b) => b.type === "checkbox")
    ? boxes.filter((b) => b.checked).map((b) => b.value)
    : boxes.flatMap((b) => fromTSV(b.value.replace(COMMAS, "\t"))[0]);
  return { value: field("value"), upper: field("upper"), items };
}
