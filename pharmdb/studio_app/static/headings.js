// Column headings: name and type; the mouse changes sorting, position and width.

import { SHORT_NAMES } from "./cells.js";
import { h } from "./dom.js";
import { openFacet } from "./facets.js";
import { columnWidth, keepLayout, moveColumn, setWidth } from "./layout.js";
import { sortBy } from "./pages.js";
import { gridCell } from "./selection.js";
import { redraw } from "./state.js";

const DRAGGED = "text/x-pharmdb-column";

export function headCell(studio, column, n, left) {
  const [order, sorted] = orderOf(studio, column);
  const hint = `${column.type}${column.nullable ? ", may be NULL" : ""}${column.doc ? `: ${column.doc}` : ""}`;
  const kind = `${column.key ? "key, " : column.references ? "→ " : ""}${SHORT_NAMES[column.kind]}`;
  const grip = h("span", { class: "ph-grip", "aria-hidden": "true" });
  grip.addEventListener("pointerdown", (event) => startResize(studio, event, column));
  const cell = gridCell(
    studio,
    "th",
    -1,
    n,
    {
      role: "columnheader",
      scope: "col",
      title: hint,
      draggable: "true",
      class: left === null ? "" : "ph-pinned",
      style: left === null ? undefined : `left:${left}px`,
      "aria-sort": sorted,
    },
    h("span", { class: "ph-name" }, column.name + order),
    h("span", { class: "ph-kind" }, kind),
    h(
      "button",
      {
        type: "button",
        class: "ph-values",
        tabindex: "-1",
        title: "values, statistics",
        "aria-label": `Values of ${column.name}`,
        onclick: () => openFacet(studio, column),
      },
      "▾",
    ),
    grip,
  );
  cell.addEventListener("click", (event) => {
    if (event.target !== grip && event.target.tagName !== "BUTTON") sortBy(studio, column, event.shiftKey);
  });
  makeDraggable(studio, cell, column, n);
  return cell;
}

// The arrow of a sorted column (numbered if there are several), and the direction in words.
function orderOf({ query: { sort } }, column) {
  const at = sort.findIndex(([name]) => name === column.name);
  if (at < 0) return ["", "none"];
  const [, down] = sort[at];
  return [`${down ? " ▼" : " ▲"}${sort.length > 1 ? at + 1 : ""}`, down ? "descending" : "ascending"];
}

function makeDraggable(studio, cell, column, n) {
  cell.addEventListener("dragstart", (event) => {
    if (studio.resizing) event.preventDefault();
    else event.dataTransfer.setData(DRAGGED, column.name);
  });
  cell.addEventListener("dragover", (event) => event.preventDefault());
  cell.addEventListener("drop", (event) => {
    event.preventDefault();
    const dragged = studio.columns.findIndex((c) => c.name === event.dataTransfer.getData(DRAGGED));
    if (dragged >= 0 && dragged !== n) moveColumn(studio, studio.columns[dragged], n - dragged);
  });
}

function startResize(studio, event, column) {
  event.preventDefault();
  event.stopPropagation();
  studio.resizing = true;
  const from = columnWidth(studio, column) - event.clientX;
  const drag = (e) => {
    setWidth(studio, column, from + e.clientX);
    redraw(studio);
  };
  const end = () => {
    window.removeEventListener("pointermove", drag);
    studio.resizing = false;
    keepLayout(studio);
  };
  window.addEventListener("pointermove", drag);
  window.addEventListener("pointerup", end, { once: true });
}
