// The layout of each table's columns (order, width, hidden, pinned), which the browser stores.

import { emit, on, redraw } from "./state.js";

const NARROWEST = 48;
const WIDEST = 420; // of a column that sizes itself, before spare room is shared
const STRETCHED = 900;
const CHARACTER = 7.4;
const PADDING = 22;
const ROOM_FOR_A_SENTENCE = 300;
const STRETCHING = new Set(["text", "json", "any", "raw"]);

const layoutName = (studio) => `pharmdb-studio-layout:${studio.info.title}`;

export function useLayouts(studio) {
  on(studio, "table", () => {
    studio.autoWidths = {};
  });
  on(studio, "info", () => {
    try {
      studio.layouts = JSON.parse(localStorage.getItem(layoutName(studio)) ?? "{}");
    } catch {
      studio.layouts = {};
    }
  });
}

// The layout of the shown table, adapted to its present columns.
export function layoutOf(studio) {
  const names = studio.table.columns.map((c) => c.name);
  const kept = studio.layouts[studio.table.name] ?? {};
  const order = [
    ...(kept.order ?? []).filter((n) => names.includes(n)),
    ...names.filter((n) => !(kept.order ?? []).includes(n)),
  ];
  const layout = { order, hidden: kept.hidden ?? [], pinned: kept.pinned ?? [], widths: kept.widths ?? {} };
  studio.layouts[studio.table.name] = layout;
  return layout;
}

export function keepLayout(studio) {
  localStorage.setItem(layoutName(studio), JSON.stringify(studio.layouts));
  redraw(studio);
  emit(studio, "layout");
}

export function resetLayout(studio) {
  delete studio.layouts[studio.table.name];
  keepLayout(studio);
}

const columnOf = (studio) => (name) => studio.table.columns.find((c) => c.name === name);

export function orderedColumns(studio) {
  return layoutOf(studio).order.map(columnOf(studio));
}

// Pinned columns come first.
export function visibleColumns(studio) {
  const { order, hidden, pinned } = layoutOf(studio);
  const shown = order.filter((name) => !hidden.includes(name));
  return [...shown.filter((n) => pinned.includes(n)), ...shown.filter((n) => !pinned.includes(n))].map(
    columnOf(studio),
  );
}

export const columnWidth = (studio, column) => studio.widths[column.name] ?? NARROWEST;

// Sizes the columns: as the user chose, or as their values need, and the room that is left goes to those with texts.
// `texts` gives the texts of a column on this page. Columns only grow while a table is shown, so pages don't jump.
export function sizeColumns(studio, columns, texts, room) {
  const chosen = layoutOf(studio).widths;
  const wrong = new Set(
    studio.changes
      .filter((c) => c.table === studio.table.name)
      .flatMap((c) => c.problems)
      .map((p) => p.column),
  );
  for (const column of columns) {
    const longest = Math.max(column.name.length * 1.15 + 6, ...texts(column).map((text) => text.length));
    const needed = Math.min(STRETCHED, Math.round(longest * CHARACTER + PADDING));
    studio.autoWidths[column.name] = Math.max(studio.autoWidths[column.name] ?? 0, needed);
  }
  const least = (c) => (wrong.has(c.name) ? ROOM_FOR_A_SENTENCE : NARROWEST);
  const widths = columns.map((c) => Math.max(least(c), chosen[c.name] ?? Math.min(WIDEST, studio.autoWidths[c.name])));
  const elastic = columns.filter((c) => !chosen[c.name] && STRETCHING.has(c.kind) && !c.references);
  const share = (wanting, most) => {
    const spare = room - widths.reduce((sum, width) => sum + width, 0);
    if (spare <= 0 || !wanting.length) return;
    for (const c of wanting) {
      const n = columns.indexOf(c);
      widths[n] = Math.max(widths[n], Math.min(most(c), widths[n] + Math.floor(spare / wanting.length)));
    }
  };
  // First to those whose values are cut.
  share(
    elastic.filter((c) => studio.autoWidths[c.name] > WIDEST),
    (c) => studio.autoWidths[c.name],
  );
  share(elastic, () => STRETCHED);
  studio.widths = Object.fromEntries(columns.map((c, n) => [c.name, widths[n]]));
  return widths;
}

export function setWidth(studio, column, width) {
  layoutOf(studio).widths[column.name] = Math.max(NARROWEST, width);
}

export function widen(studio, column, by) {
  setWidth(studio, column, columnWidth(studio, column) + by);
  keepLayout(studio);
}

export function moveColumn(studio, column, by) {
  const shown = visibleColumns(studio).map((c) => c.name);
  const { order } = layoutOf(studio);
  const to = shown[shown.indexOf(column.name) + by];
  if (!to) return;
  order.splice(order.indexOf(column.name), 1);
  order.splice(order.indexOf(to) + (by > 0 ? 1 : 0), 0, column.name);
  keepLayout(studio);
}

// Toggles whether a column is pinned or hidden; at least one column stays visible.
export function toggleColumn(studio, list, column) {
  const names = layoutOf(studio)[list];
  const at = names.indexOf(column.name);
  if (at >= 0) names.splice(at, 1);
  else if (list !== "hidden" || visibleColumns(studio).length > 1) names.push(column.name);
  keepLayout(studio);
}
