// The panel of what a column contains, beside the grid: statistics, the most frequent values, and a histogram. A click on
// a value or a bar filters by it.

import { button, h } from "./dom.js";
import { alsoFilter } from "./filters.js";
import { request, tell } from "./kernel.js";
import { sentenceOf } from "./messages.js";
import { wanted } from "./pages.js";
import { focusCell } from "./selection.js";
import { on } from "./state.js";
import { plural, visible } from "./text.js";

const PARTS = ["summary", "bars", "frequent"];
const number = (n) => n.toLocaleString("en");

export function buildFacets(studio) {
  studio.ui.facet = h("aside", { class: "ph-facet", "aria-label": "Values of a column", hidden: true });
  on(studio, "table", () => closeFacet(studio));
  on(studio, "view", () => {
    if (studio.facet && JSON.stringify(wantedRows(studio)) !== studio.facet.of)
      openFacet(studio, studio.facet.column, false);
  });
  on(studio, "written", () => {
    if (studio.facet) openFacet(studio, studio.facet.column, false);
  });
  return studio.ui.facet;
}

function wantedRows(studio) {
  const { table, filters, match, search } = wanted(studio);
  return { table, filters, match, search };
}

function cancelFacet(studio) {
  for (const id of studio.facet?.pending ?? []) tell(studio, "cancel", { request: id });
}

function closeFacet(studio) {
  cancelFacet(studio);
  studio.facet = null;
  studio.ui.facet.hidden = true;
}

export function openFacet(studio, column, focused = true) {
  cancelFacet(studio);
  const panel = studio.ui.facet;
  const rows = wantedRows(studio);
  const facet = { column, of: JSON.stringify(rows), pending: new Set() };
  studio.facet = facet;
  const close = button(
    "✕",
    () => {
      closeFacet(studio);
      focusCell(studio);
    },
    { "aria-label": "Close the values" },
  );
  const boxes = Object.fromEntries(PARTS.map((part) => [part, h("div", { class: `ph-facet-${part}` })]));
  boxes.summary.append("counting…");
  panel.replaceChildren(
    h(
      "div",
      { class: "ph-bar" },
      h("span", { class: "ph-title" }, column.name),
      h("span", { class: "ph-push" }),
      close,
    ),
    ...PARTS.map((part) => boxes[part]),
  );
  panel.hidden = false;
  panel.setAttribute("aria-label", `Values of ${column.name}`);
  if (focused) close.focus();
  const shown = column.secret ? ["summary"] : PARTS;
  return Promise.all(shown.map((part) => loadPart(studio, facet, part, { ...rows, column: column.name }, boxes[part])));
}

async function loadPart(studio, facet, part, message, box) {
  const asking = request(studio, part, message);
  facet.pending.add(asking.id);
  try {
    const answer = await asking;
    if (studio.facet === facet) box.replaceChildren(...DRAW[part](studio, facet, answer));
  } catch (error) {
    if (studio.facet === facet) box.replaceChildren(h("p", { class: "ph-sentence" }, sentenceOf(error)));
  }
  facet.pending.delete(asking.id);
}

const DRAW = { summary: drawSummary, frequent: drawFrequent, bars: drawBars };

function drawSummary(studio, { column }, { rows, nulls, least, greatest, mean }) {
  const facts = [
    ["rows", number(rows)],
    ["NULL", number(nulls)],
    ["least", least],
    ["greatest", greatest],
    ["mean", mean],
  ].filter(([, text]) => text !== null);
  const list = h(
    "dl",
    {},
    ...facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", { dir: "auto" }, visible(text))]),
  );
  const isNull = () => alsoFilter(studio, { column: column.name, operator: "is NULL" });
  return [list, nulls && nulls < rows ? button(`only NULL: ${plural(nulls, "row")}`, isNull) : ""];
}

function drawFrequent(studio, { column }, { values, distinct }) {
  const most = Math.max(1, ...values.map((v) => v.rows));
  const items = values.map((v) => {
    const text = v.text === "" ? h("span", { class: "ph-quiet" }, "empty") : visible(v.text);
    const content = [
      h("span", { class: "ph-value", dir: "auto" }, text),
      h("span", { class: "ph-count" }, number(v.rows)),
      h("span", { class: "ph-share", "aria-hidden": "true", style: `width:${(100 * v.rows) / most}%` }),
    ];
    const properties = {
      type: "button",
      onclick: () => alsoFilter(studio, { column: column.name, operator: "=", value: v.text }),
      "aria-label": `${column.name} = ${v.text === "" ? "empty text" : v.text}: ${plural(v.rows, "row")}`,
    };
    return h("li", {}, v.whole ? h("button", properties, ...content) : h("span", {}, ...content));
  });
  const others = distinct > values.length ? `, the ${values.length} most frequent` : "";
  return values.length
    ? [h("p", { class: "ph-quiet" }, `${number(distinct)} different${others}`), h("ul", {}, ...items)]
    : [];
}

function drawBars(studio, { column }, { bars }) {
  if (!bars.length) return [];
  const most = Math.max(1, ...bars.map((bar) => bar.rows));
  const rangeOf = ({ low, high }) => (low === high ? low : `${low} to ${high}`);
  const shape = h(
    "div",
    { class: "ph-bars", role: "group", "aria-label": `Distribution of ${column.name}`, onkeydown: barKey },
    ...bars.map((bar, n) =>
      h("button", {
        type: "button",
        tabindex: n ? "-1" : "0",
        title: `${rangeOf(bar)}: ${plural(bar.rows, "row")}`,
        "aria-label": `${rangeOf(bar)}: ${plural(bar.rows, "row")}`,
        style: `--ph-part:${bar.rows ? Math.max(2, (100 * bar.rows) / most) : 0}%`,
        onclick: () =>
          alsoFilter(studio, { column: column.name, operator: "between", value: bar.low, upper: bar.high }),
      }),
    ),
  );
  const ends = h("p", { class: "ph-ends" }, h("span", {}, bars[0].low), h("span", {}, bars.at(-1).high));
  return [shape, ends];
}

function barKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const bars = [...event.currentTarget.children];
  const to = bars[bars.indexOf(event.target) + step];
  if (!step || !to) return;
  event.preventDefault();
  for (const bar of bars) bar.tabIndex = bar === to ? 0 : -1;
  to.focus();
}
