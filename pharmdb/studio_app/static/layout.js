// The layout of each table's columns (order, width, hidden, pinned), which the browser stores.

import { emit, on, redraw } from "./state.js";

const NARROWEST = 48;
const USUAL = { integer: 90, boolean: 80, datetime: 200, date: 110, number: 90, json: 260, password: 130, enum: 110 };
const ROOM_FOR_A_SENTENCE = 300;

const layoutName = (studio) => `pharmdb-studio-layout:${studio.info.title}`;

export function useLayouts(studio) {
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

export function columnWidth(studio, column) {
  const chosen = layoutOf(studio).widths[column.name];
  const wrong = studio.changes.some(
    (c) => c.table === studio.table.name && c.problems.some((p) => p.column === column.name),
  );
  if (wrong) return Math.max(ROOM_FOR_A_SENTENCE, chosen ?? 0);
  return chosen ?? Math.max(USUAL[column.kind] ?? 220, column.name.length * 9 + 34);
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
