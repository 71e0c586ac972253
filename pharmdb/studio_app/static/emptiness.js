// What stands in place of the rows if there are none: why, and what to do next.

import { button, h } from "./dom.js";
import { clearFilters } from "./filters.js";
import { go, load, turn } from "./pages.js";
import { askRow } from "./rowform.js";
import { canEdit, on, whyNot } from "./state.js";

export function buildEmptiness(studio) {
  const box = h("div", { class: "ph-empty", role: "status", hidden: true });
  on(studio, "draw", () => {
    box.hidden = !studio.page || (studio.shownLines.length > 0 && !studio.page.failed);
    const { why, next } = box.hidden ? { why: "", next: [] } : reasonOf(studio);
    box.replaceChildren(h("p", {}, why), h("p", {}, ...next));
  });
  return box;
}

function reasonOf(studio) {
  const { page, query, table, sizes } = studio;
  if (page.failed)
    return {
      why: "The rows can't be shown. The message below says why.",
      next: [button("Try again", () => load(studio, true))],
    };
  // Others may have deleted the rows that were here.
  if (query.place)
    return { why: "No rows are left here.", next: [button("Go to the first page", () => turn(studio, "first"))] };
  if (query.filters.length || query.search) {
    const all = sizes[table.name] ? ` The table has ${sizes[table.name].text}.` : "";
    return { why: `There is no row of ${table.name} where ${page.where}.${all}`, next: [clearButton(studio)] };
  }
  const why = `${table.name} has no rows yet.`;
  if (!canEdit(studio)) return { why, next: [`Rows can't be added here: ${whyNot(studio)}.`] };
  return { why, next: [button("Add the first row", () => askRow(studio)), " or take many from a file with Import…"] };
}

function clearButton(studio) {
  const { filters, search } = studio.query;
  const what = [filters.length > 0 && "the filters", search && "the search"].filter(Boolean).join(" and ");
  const clear = () => (filters.length ? clearFilters(studio, { search: "" }) : go(studio, { search: "" }));
  return button(`Clear ${what}`, clear);
}
