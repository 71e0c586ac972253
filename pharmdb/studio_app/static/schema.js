// The chart of all tables, drawn for the room there is: each reference is a line from its column to the one it refers to.

import { button, h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 244, row: 18, head: 24, gap: 26 };
const GUTTER = 96; // between columns of tables, for the lines
const LANE = 9; // between two lines
const ZOOM = { least: 0.4, most: 3, step: 1.25 };
const SHORT_TYPES = [
  [/^character varying/, "varchar"],
  [/^timestamp(\(\d\))? with time zone/, "timestamptz$1"],
  [/^timestamp(\(\d\))? without time zone/, "timestamp$1"],
  [/^double precision/, "double"],
];

function s(tag, properties, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function loadPicture(studio) {
  const panel = studio.ui.panels.schema;
  const tables = studio.tables.filter((t) => t.model || !t.readOnly);
  if (!tables.length) return;
  const room = h("div", { class: "ph-scroll ph-picture", tabindex: "0", role: "region", "aria-label": "Schema" });
  panel.replaceChildren(drawZoom(studio, room, tables), room, listOfReferences(tables));
  drawPicture(studio, room, tables);
}

const isShown = (studio) => studio.shown === "schema";

// Draws the chart again if the page has become wide or narrow.
export function redrawPicture(studio) {
  if (isShown(studio)) loadPicture(studio);
}

function drawZoom(studio, room, tables) {
  const zoom = (by) => {
    studio.zoom = by ? Math.min(ZOOM.most, Math.max(ZOOM.least, studio.zoom * by)) : 1;
    drawPicture(studio, room, tables);
  };
  room.addEventListener("keydown", (event) => {
    const by = { "+": ZOOM.step, "-": 1 / ZOOM.step, 0: 0 }[event.key];
    if (by === undefined || event.ctrlKey) return;
    event.preventDefault();
    zoom(by);
  });
  return h(
    "div",
    { class: "ph-bar" },
    button("−", () => zoom(1 / ZOOM.step), { "aria-label": "Smaller" }),
    button("+", () => zoom(ZOOM.step), { "aria-label": "Larger" }),
    button("1:1", () => zoom(0), { "aria-label": "Original size" }),
    h("span", { class: "ph-quiet" }, "PK primary key · U unique · a line leads from a reference to its column"),
  );
}

const referencesOf = (tables) =>
  tables.flatMap((t) =>
    t.columns.filter((c) => c.references).map((c) => ({ table: t.name, column: c.name, to: c.references })),
  );

function listOfReferences(tables) {
  const items = referencesOf(tables).map((r) => h("li", {}, `${r.table}.${r.column} → ${r.to.join(".")}`));
  return h("details", {}, h("summary", {}, "References as text"), h("ul", {}, ...items));
}

function drawPicture(studio, room, tables) {
  const { places, width, height, narrow } = placeTables(tables, room.clientWidth || 900);
  const references = referencesOf(tables).filter((r) => places.has(r.to[0]));
  const names = [...new Set(references.map((r) => `${r.table} → ${r.to[0]}`))].join(", ");
  const svg = s(
    "svg",
    {
      role: "img",
      "aria-label": `Schema: ${tables.length} tables; ${names}`,
      viewBox: `0 0 ${width} ${height}`,
      width: width * studio.zoom,
      height: height * studio.zoom,
    },
    s(
      "defs",
      {},
      s(
        "marker",
        { id: "ph-arrow", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto" },
        s("path", { d: "M0,0 L8,4 L0,8 z", class: "ph-tip" }),
      ),
    ),
    ...references.map((reference, n) => drawLink(reference, n, places, narrow)),
    ...tables.map((table) => drawTableBox(table, places.get(table.name))),
  );
  room.replaceChildren(svg);
}

const heightOf = (table) => BOX.head + BOX.row * table.columns.length + 4;

// Referenced tables stand in the middle and the others at both sides; on a narrow page all stand in one column.
function placeTables(tables, room) {
  const parents = new Set(referencesOf(tables).map((r) => r.to[0]));
  const middle = tables.filter((t) => parents.has(t.name));
  const others = tables.filter((t) => !parents.has(t.name)).sort((a, b) => b.columns.length - a.columns.length);
  const wide = 3 * BOX.width + 2 * GUTTER;
  const two = 2 * BOX.width + GUTTER;
  const narrow = room < two;
  const columns = narrow
    ? [[...middle, ...others]]
    : room < wide
      ? [middle, others]
      : [balanced(others, 0), middle, balanced(others, 1)];
  const heights = columns.map((each) => each.reduce((sum, t) => sum + heightOf(t) + BOX.gap, 0));
  const height = Math.max(...heights) + BOX.gap;
  const places = new Map();
  columns.forEach((each, n) => {
    const x = narrow ? GUTTER / 2 : 1 + n * (BOX.width + GUTTER);
    let y = BOX.gap / 2 + (height - BOX.gap - heights[n]) / 2;
    for (const table of each) {
      places.set(table.name, { x, y, table, column: n });
      y += heightOf(table) + BOX.gap;
    }
  });
  const width = narrow ? BOX.width + GUTTER / 2 + 2 : columns.length * (BOX.width + GUTTER) - GUTTER + 2;
  return { places, width, height, narrow };
}

// Every table goes to the side that is shorter so far.
function balanced(tables, side) {
  const sides = [[], []];
  const heights = [0, 0];
  for (const table of tables) {
    const to = heights[0] <= heights[1] ? 0 : 1;
    sides[to].push(table);
    heights[to] += heightOf(table);
  }
  return sides[side];
}

const middleOf = ({ y, table }, name) => {
  const row = table.columns.findIndex((c) => c.name === name);
  return y + BOX.head + BOX.row * (Math.max(0, row) + 0.5);
};

// A line with right angles, in a lane of its own between the columns.
function drawLink({ table, column, to }, n, places, narrow) {
  const child = places.get(table);
  const parent = places.get(to[0]);
  const fromY = middleOf(child, column);
  const toY = middleOf(parent, to[1]);
  const lane = (n % Math.floor(GUTTER / LANE - 3)) * LANE;
  const title = s("title", {}, `${table}.${column} → ${to.join(".")}`);
  let path;
  if (narrow || child.column === parent.column) {
    const x = child.x - 8 - (lane % (GUTTER / 2 - 14));
    path = `M${child.x},${fromY} H${x} V${toY} H${parent.x}`;
  } else if (child.x < parent.x) {
    path = `M${child.x + BOX.width},${fromY} H${child.x + BOX.width + 14 + lane} V${toY} H${parent.x}`;
  } else {
    path = `M${child.x},${fromY} H${child.x - 14 - lane} V${toY} H${parent.x + BOX.width}`;
  }
  return s("path", { d: path, class: "ph-link", "marker-end": "url(#ph-arrow)" }, title);
}

function drawTableBox(table, { x, y }) {
  const rows = table.columns.map((c, n) => {
    const base = y + BOX.head + BOX.row * n + 13;
    const marks = [c.key && "PK", c.unique && !c.key && "U"].filter(Boolean).join(" ");
    const type = SHORT_TYPES.reduce((text, [long, short]) => text.replace(long, short), c.type);
    return s(
      "g",
      {},
      s("text", { x: x + 8, y: base, class: c.key ? "ph-keyname" : "" }, c.name),
      s(
        "text",
        { x: x + BOX.width - 8, y: base, class: "ph-type" },
        [type.toLowerCase(), c.nullable ? "NULL" : "", marks].filter(Boolean).join(" · "),
      ),
    );
  });
  return s(
    "g",
    {},
    s("rect", { x, y, width: BOX.width, height: heightOf(table), rx: 5, class: "ph-table" }),
    s("path", { d: `M${x},${y + BOX.head - 3} h${BOX.width}`, class: "ph-rule" }),
    s("text", { x: x + 8, y: y + 15, class: "ph-tablename" }, table.name),
    ...rows,
  );
}
