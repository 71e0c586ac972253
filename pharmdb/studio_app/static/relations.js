// References between rows: following them, listing what refers to a row, and the trail of views that leads back.

import { keyText } from "./cells.js";
import { button, h } from "./dom.js";
import { request } from "./kernel.js";
import { fail, say } from "./messages.js";
import { go } from "./pages.js";
import { focusCell, goTo } from "./selection.js";
import { on } from "./state.js";

const CONSEQUENCES = { CASCADE: "deleted with it", "SET NULL": "set to NULL with it" };

export function buildTrail(studio) {
  const trail = h("nav", { "aria-label": "Trail", class: "ph-trail", hidden: true });
  on(studio, "view", () => {
    trail.hidden = !studio.trail.length;
    const steps = studio.trail.flatMap((step, n) => [button(step.label, () => goBack(studio, n)), " › "]);
    trail.replaceChildren(...steps, h("span", { "aria-current": "page" }, hereOf(studio)));
  });
  return trail;
}

function hereOf({ table, query }) {
  return [table.name, ...query.filters.map((f) => `${f.column} ${f.operator} ${f.value}`.trim())].join(" · ");
}

function goBack(studio, n) {
  const step = studio.trail[n];
  studio.trail = studio.trail.slice(0, n);
  const direction = step.first ? "from" : "after";
  go(studio, { table: step.table, ...step.query, place: step.first, direction, start: step.start }, false);
}

// Shows the rows of a table in which a column has this value.
async function leaveFor(studio, label, table, column, value) {
  const first = studio.page?.has_previous ? studio.page.first : null;
  studio.trail.push({
    label,
    table: studio.table.name,
    query: structuredClone(studio.query),
    first,
    start: studio.start,
  });
  const filter = { column, operator: "=", value, upper: "", items: [] };
  await go(studio, { table, filters: [filter], match: "all", search: "", sort: [] }, false);
  goTo(studio, 0, 0);
}

export function follow(studio, column, text) {
  const [table, referred] = column.references;
  return leaveFor(studio, hereOf(studio), table, referred, text);
}

export function buildRelated(studio) {
  studio.ui.relatedBox = h("section", { "aria-label": "Related rows", class: "ph-related", hidden: true });
  on(studio, "table", () => {
    studio.ui.relatedBox.hidden = true;
  });
  return studio.ui.relatedBox;
}

export async function showRelated(studio) {
  const line = studio.shownLines[studio.active.r];
  if (!line?.key.length) {
    say(studio, "select a row first", true);
    return;
  }
  let related;
  try {
    ({ related } = await request(studio, "related", { table: studio.table.name, key: line.key }));
  } catch (error) {
    fail(studio, error);
    return;
  }
  const { relatedBox } = studio.ui;
  const name = `${studio.table.name} ${keyText(line.key)}`;
  const close = () => {
    relatedBox.hidden = true;
    focusCell(studio);
  };
  relatedBox.hidden = false;
  relatedBox.replaceChildren(
    h("p", { class: "ph-title" }, `Rows that refer to ${name}`),
    h(
      "ul",
      {},
      ...related.map((r) =>
        h(
          "li",
          {},
          button(`${r.table} (${r.column}): ${r.count}`, () => leaveFor(studio, name, r.table, r.column, r.value)),
          h("span", { class: "ph-quiet" }, ` ${CONSEQUENCES[r.on_delete] ?? "prevents its deletion"}`),
        ),
      ),
    ),
    button("Close", close),
  );
  relatedBox.querySelector("button")?.focus();
}
