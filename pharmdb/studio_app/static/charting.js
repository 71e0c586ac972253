// A simple chart of a result: one bar for each row.

import { h } from "./dom.js";
import { visible } from "./text.js";

const MOST_CHARTED = 200;
const MOST_LABELLED = 30; // rows that are listed with their labels; more become thin bars side by side

const isNumber = (text) => text !== null && text.trim() !== "" && Number.isFinite(Number(text));

// The chart with its choices, or null if the result has no column of numbers.
export function buildChart({ columns, rows }) {
  const numeric = columns
    .map((_, n) => n)
    .filter((n) => rows.length > 1 && rows.every((r) => r[n] === null || isNumber(r[n])));
  if (!numeric.length || columns.length < 2) return null;
  const labelled =
    columns.map((_, n) => n).find((n) => !numeric.includes(n)) ?? columns.findIndex((_, n) => n !== numeric.at(-1));
  const choose = (label, chosen, among) =>
    h(
      "select",
      { "aria-label": label, onchange: () => draw() },
      ...among.map((n) => h("option", { value: n, selected: n === chosen }, columns[n])),
    );
  const label = choose(
    "Chart: one bar for each",
    labelled,
    columns.map((_, n) => n),
  );
  const value = choose("Chart: its length", numeric.find((n) => n !== labelled) ?? numeric[0], numeric);
  const place = h("div");
  const draw = () => place.replaceChildren(drawChart(rows, columns, Number(label.value), Number(value.value)));
  draw();
  return h(
    "details",
    { class: "ph-chart" },
    h("summary", {}, "Chart"),
    h("div", { class: "ph-bar" }, "one bar for each", label, "as long as", value),
    place,
  );
}

function drawChart(all, columns, x, y) {
  const rows = all.slice(0, MOST_CHARTED);
  const longest = Math.max(...rows.map((row) => Math.abs(Number(row[y] ?? 0))), Number.MIN_VALUE);
  const share = (row) => (100 * Math.abs(Number(row[y] ?? 0))) / longest;
  const nameOf = (row) => (row[x] === null ? "NULL" : visible(row[x]));
  const left =
    all.length > rows.length ? h("p", { class: "ph-quiet" }, `the first ${rows.length} of ${all.length} rows`) : "";
  if (rows.length > MOST_LABELLED) {
    const title = `${columns[y]} by ${columns[x]}, ${rows.length} bars, the longest ${longest.toLocaleString("en")}`;
    const bars = rows.map((row) =>
      h("span", { title: `${nameOf(row)}: ${row[y]}`, style: `--ph-part:${share(row)}%` }),
    );
    const ends = h("p", { class: "ph-ends" }, h("span", {}, nameOf(rows[0])), h("span", {}, nameOf(rows.at(-1))));
    return h("div", {}, h("div", { class: "ph-bars", role: "img", "aria-label": title }, ...bars), ends, left);
  }
  const lines = rows.map((row) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", dir: "auto" }, nameOf(row)),
      h(
        "td",
        { class: "ph-length" },
        h("span", { class: Number(row[y]) < 0 ? "ph-below" : "", style: `width:${share(row)}%` }),
      ),
      h("td", {}, row[y] ?? "NULL"),
    ),
  );
  return h(
    "div",
    {},
    h("table", { class: "ph-lengths" }, h("caption", {}, `${columns[y]} by ${columns[x]}`), h("tbody", {}, ...lines)),
    left,
  );
}
