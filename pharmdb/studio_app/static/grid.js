// The grid: a table of cells, redrawn whenever what it shows has changed.

import { isCut, isMasked, textOf } from "./cells.js";
import { h, marked } from "./dom.js";
import { headCell } from "./headings.js";
import { layoutOf, sizeColumns, visibleColumns } from "./layout.js";
import { currentCell, isStaged, linesOf, originalCell } from "./lines.js";
import { labelOf } from "./picker.js";
import { follow } from "./relations.js";
import { focusCell, gridCell, markSelection } from "./selection.js";
import { canEdit, on } from "./state.js";
import { visible } from "./text.js";

const MARK_WIDTH = 38;

export function buildGrid(studio) {
  studio.ui.grid = h("table", { role: "grid", "aria-multiselectable": "true", class: "ph-grid" });
  on(studio, "draw", drawGrid);
  studio.ui.scroll = h("div", { class: "ph-scroll ph-gridroom" }, studio.ui.grid);
  return studio.ui.scroll;
}

function drawGrid(studio) {
  const { grid, root } = studio.ui;
  const columns = visibleColumns(studio);
  const shownLines = linesOf(studio);
  Object.assign(studio, { columns, shownLines, cells: new Map() });
  const hadFocus = grid.contains(document.activeElement);
  studio.active.r = Math.min(studio.active.r, shownLines.length - 1);
  studio.active.c = Math.min(studio.active.c, columns.length - 1);
  nameGrid(studio);
  const widths = sizeColumns(studio, columns, textsOf(studio), studio.ui.scroll.clientWidth - MARK_WIDTH);
  const offsets = pinnedOffsets(studio, widths);
  const corner = gridCell(
    studio,
    "th",
    -1,
    -1,
    {
      role: "columnheader",
      scope: "col",
      class: "ph-mark",
      "aria-label": "select all rows of this page",
      title: "select all rows of this page",
    },
    "✓",
  );
  grid.replaceChildren(
    h("colgroup", {}, ...[MARK_WIDTH, ...widths].map((width) => h("col", { style: `width:${width}px` }))),
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row", "aria-rowindex": 1 },
        corner,
        ...columns.map((c, n) => headCell(studio, c, n, offsets[n])),
      ),
    ),
    h("tbody", { role: "rowgroup" }, ...shownLines.map((line, r) => drawLine(studio, line, r, offsets))),
  );
  grid.style.width = `${widths.reduce((sum, width) => sum + width, MARK_WIDTH)}px`;
  root.dataset.table = studio.table.name;
  root.dataset.rows = String(studio.page?.rows.length ?? 0);
  markSelection(studio);
  if (hadFocus) focusCell(studio, false);
}

// The texts of a column that are shown on this page.
const textsOf = (studio) => (column) => {
  const cells = studio.shownLines.map((line) => textOf(currentCell(studio, line, column) ?? null) ?? "NULL");
  return column.references ? cells.map((text) => `${text} ${labelOf(studio, column, text) ?? ""} → `) : cells;
};

function nameGrid(studio) {
  const { grid } = studio.ui;
  grid.setAttribute("aria-label", `Rows of ${studio.table.name}`);
  grid.setAttribute("aria-colcount", studio.columns.length + 1);
  grid.setAttribute("aria-rowcount", studio.count?.exact ? studio.count.rows + 1 : -1);
  grid.setAttribute("aria-readonly", String(!canEdit(studio)));
}

// The distance of each pinned column from the left; null for other columns.
function pinnedOffsets(studio, widths) {
  const { pinned } = layoutOf(studio);
  let left = MARK_WIDTH;
  return studio.columns.map((column, n) => {
    if (!pinned.includes(column.name)) return null;
    const at = left;
    left += widths[n];
    return at;
  });
}

// The symbol of a line, and its meaning.
function markOf(studio, { change, isNew, id }) {
  if (change?.kind === "delete") return ["✕", "to be deleted"];
  if (isNew) return ["+", "to be added"];
  if (change) return ["●", "changed"];
  return studio.selected.has(id) ? ["✓", "selected"] : ["", "not selected"];
}

function drawLine(studio, line, r, offsets) {
  const { change, isNew, id } = line;
  const whole = change?.problems.find((p) => !p.column);
  const [sign, meaning] = markOf(studio, line);
  return h(
    "tr",
    {
      role: "row",
      "aria-rowindex": (studio.start ?? 1) + r + 1,
      "aria-selected": String(studio.selected.has(id)),
      title: whole?.sentence,
      class: [change?.kind === "delete" && "ph-deleted", isNew && "ph-added", whole && "ph-wrong"]
        .filter(Boolean)
        .join(" "),
    },
    gridCell(
      studio,
      "td",
      r,
      -1,
      { role: "gridcell", class: "ph-mark", "aria-label": `row ${r + 1}, ${meaning}` },
      sign,
    ),
    ...studio.columns.map((column, c) => drawCell(studio, line, column, r, c, offsets[c])),
  );
}

function drawCell(studio, line, column, r, c, left) {
  const cell = currentCell(studio, line, column);
  const staged = isStaged(line, column);
  const problem = line.change?.problems.find((p) => p.column === column.name);
  const before = staged && !line.isNew ? `was ${textOf(originalCell(studio, line, column)) ?? "NULL"}` : null;
  const classes = [
    `ph-${column.kind}`,
    staged && "ph-staged",
    problem && "ph-wrong",
    left !== null && "ph-pinned",
    cell === null && "ph-null",
    cell === "" && "ph-blank",
  ];
  const td = gridCell(
    studio,
    "td",
    r,
    c,
    {
      role: "gridcell",
      class: classes.filter(Boolean).join(" "),
      style: left === null ? undefined : `left:${left}px`,
      dir: "auto",
      title: [problem?.sentence, before].filter(Boolean).join(" · ") || undefined,
      "aria-invalid": problem ? "true" : undefined,
      "aria-readonly": canEdit(studio) && column.editable ? undefined : "true",
      "data-column": column.name,
    },
    ...contentOfCell(studio, cell, column),
  );
  if (column.references && typeof cell === "string") {
    const known = labelOf(studio, column, cell);
    const label = `go to ${column.references[0]} ${cell}`;
    td.append(
      known ? h("span", { class: "ph-label" }, ` ${visible(known)}`) : "",
      h(
        "button",
        {
          type: "button",
          class: "ph-follow",
          tabindex: "-1",
          "aria-label": label,
          onclick: () => follow(studio, column, cell),
        },
        "→",
      ),
    );
  }
  if (problem) td.append(h("span", { class: "ph-sentence" }, problem.sentence));
  return td;
}

const quiet = (text) => h("span", { class: "ph-quiet" }, text);

function contentOfCell(studio, cell, column) {
  if (cell === undefined)
    return [quiet(column.default ? "default" : column.kind === "password" ? "type a password" : "—")];
  if (cell === null) return [quiet("NULL")];
  const text = textOf(cell);
  if (text === "") return [quiet("empty")];
  if (column.kind === "boolean") return [text === "true" ? "☑ true" : "☐ false"];
  const parts = marked(visible(text), isMasked(cell) ? "" : visible(studio.query.search));
  return isCut(cell) ? [...parts, quiet(`… ${cell.n.toLocaleString("en")} characters`)] : parts;
}
