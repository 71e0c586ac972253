// The panel of rows: the grid with its toolbars.

import { buildBulk } from "./bulk.js";
import { keyText } from "./cells.js";
import { button, h } from "./dom.js";
import { buildEmptiness } from "./emptiness.js";
import { buildExport } from "./exporting.js";
import { buildFacets } from "./facets.js";
import { addFilter, buildFilters } from "./filters.js";
import { buildGoing } from "./going.js";
import { buildGrid } from "./grid.js";
import { buildImport } from "./importing.js";
import { cellsOf, rowName } from "./names.js";
import { buildPager } from "./pager.js";
import { go } from "./pages.js";
import { buildRelated, buildTrail, showRelated } from "./relations.js";
import { askRow } from "./rowform.js";
import { askDelete, duplicateRows } from "./rows.js";
import { canEdit, idOf, on } from "./state.js";
import { plural } from "./text.js";

const KEYS =
  "Arrow keys, Home, End, Ctrl+Home and Ctrl+End move; Page Up and Page Down change the page; Shift extends the selection; Ctrl+A selects all. " +
  "Enter or F2 edits; typing replaces; Delete sets NULL; Shift+Space selects the row, or the rows of the selected cells; Space on ✓ selects all rows of the page; Ctrl+C and Ctrl+V copy and paste; Ctrl+Enter follows a reference; Alt+Enter shows what refers to the row; Ctrl+S saves, anywhere in the studio; Ctrl+Z takes back what was staged last, Ctrl+Y stages it again. " +
  "On a column heading, Enter sorts (with Shift by a further column), Alt+arrows move it, Alt+Shift+arrows make it wider or narrower, P pins and H hides it, F shows its values.";

export function buildRows(studio) {
  const grid = buildGrid(studio);
  grid.append(buildEmptiness(studio));
  studio.ui.addFilter = button("Add filter", () => addFilter(studio));
  studio.ui.panels.rows.append(
    buildTrail(studio),
    h(
      "div",
      { class: "ph-bar" },
      ...buildSearch(studio),
      studio.ui.addFilter,
      h("span", { class: "ph-push" }),
      ...buildCommands(studio),
    ),
    buildFilters(studio),
    h("div", { class: "ph-rowsroom" }, grid, buildFacets(studio)),
    h(
      "div",
      { class: "ph-bar" },
      ...buildPager(studio),
      ...buildGoing(studio),
      h("span", { class: "ph-together ph-end" }, ...buildSizes(studio), ...buildExport(studio)),
    ),
    buildRelated(studio),
    h("details", { class: "ph-help" }, h("summary", {}, "Keys"), h("p", {}, KEYS)),
  );
}

function buildSearch(studio) {
  const search = () => go(studio, { search: box.value });
  const box = h("input", {
    type: "search",
    "aria-label": "Search",
    placeholder: "search all columns",
    onkeydown: (event) => {
      if (event.key === "Enter") search();
    },
    onsearch: () => {
      if (box.value !== studio.query.search) search();
    },
  });
  on(studio, "view", () => {
    box.value = studio.query.search;
  });
  return [box, button("Search", search, { "aria-label": "Search now" })];
}

function buildCommands(studio) {
  const writing = [
    button("Add row", () => askRow(studio)),
    buildImport(studio),
    button("Duplicate", () => duplicateRows(studio)),
    buildBulk(studio),
    button("Delete…", () => askDelete(studio)),
  ];
  const related = button("Related rows", () => showRelated(studio));
  on(studio, "draw", () => {
    for (const command of writing) command.hidden = !canEdit(studio);
    related.hidden = !studio.table.children.length;
  });
  const chosen = h("span", { class: "ph-chosen ph-quiet" });
  on(studio, "selection", () => {
    chosen.textContent = chosenText(studio);
    chosen.title = chosen.textContent;
  });
  return [chosen, ...writing, related];
}

// Which rows the commands beside it refer to.
function chosenText(studio) {
  if (studio.selected.size) return `${plural(studio.selected.size, "row")} selected`;
  const line = studio.shownLines[studio.active.r];
  if (!line) return "";
  if (line.isNew) return "new row";
  return ["row", keyText(line.key), rowName(studio, studio.table, cellsOf(studio, line))].filter(Boolean).join(" ");
}

function buildSizes(studio) {
  const id = idOf(studio, "size");
  const sizes = h("select", { id, onchange: () => go(studio, { size: Number(sizes.value) }) });
  on(studio, "info", () =>
    sizes.replaceChildren(...studio.info.sizes.map((n) => h("option", { value: n }, String(n)))),
  );
  on(studio, "view", () => {
    sizes.value = String(studio.query.size);
  });
  return [h("span", { class: "ph-together" }, h("label", { for: id }, "Rows per page"), sizes)];
}
