// Navigation: selects the shown page, loads it, and counts the table's rows.

import { readAddress, writeAddress } from "./address.js";
import { arriveAtView, leaveView } from "./history.js";
import { request, tell } from "./kernel.js";
import { fail, say } from "./messages.js";
import { learnLabels } from "./picker.js";
import { emit, emptyQuery, FIRST_PAGE, redraw } from "./state.js";

const NO_ROWS = { rows: [], has_previous: false, has_next: false };

// The view, in the form of a request to the kernel.
export const wanted = (studio) => ({ table: studio.table.name, ...studio.query });

export function goToAddress(studio) {
  emit(studio, "address");
  arriveAtView(studio);
  return show(studio, readAddress(studio), false);
}

// Shows another view; `change` can set table, filters, search, sort, size and place. New filters or sorts start at page 1.
// If the kernel refuses a filter, what was shown before stays.
export function go(studio, change, leaveTrail = true) {
  leaveView(studio);
  return show(studio, change, leaveTrail);
}

async function show(studio, change, leaveTrail) {
  const { table, start, ...query } = change;
  const isOther = Boolean(table && table !== studio.table?.name);
  const before = studio.page && !isOther ? { query: { ...studio.query }, start: studio.start } : null;
  if (isOther) {
    openTable(studio, table);
    if (leaveTrail) studio.trail = [];
  }
  Object.assign(studio.query, query, "place" in query ? {} : FIRST_PAGE);
  studio.start = start === undefined ? 1 : start;
  emit(studio, "view");
  const error = await load(studio, true);
  if (error?.filter !== undefined) await refuse(studio, error, before);
}

async function refuse(studio, error, before) {
  const { filters } = studio.query;
  Object.assign(studio, { refusal: { filters, error } }, before ?? { query: { ...studio.query, filters: [] } });
  studio.filtersShown = JSON.stringify([studio.query.filters, studio.query.match]);
  emit(studio, "view");
  if (!before) await load(studio, true);
  else {
    // The view stays, although Back or Forward has changed the address already.
    writeAddress(studio);
    if (!studio.count) await recount(studio);
  }
  emit(studio, "refused");
  fail(studio, error);
}

function openTable(studio, name) {
  studio.query = { ...emptyQuery(), size: studio.query.size };
  studio.table = studio.tables.find((t) => t.name === name);
  studio.selected.clear();
  studio.active = { r: 0, c: 0 };
  studio.anchor = null;
  studio.page = null;
  studio.count = null;
  emit(studio, "table");
}

// Loads the page. Returns the error if it can't be shown.
export async function load(studio, recounting = false) {
  for (const id of [studio.loading, recounting && studio.counting]) if (id) tell(studio, "cancel", { request: id });
  if (recounting) studio.counting = null;
  const loading = request(studio, "page", wanted(studio));
  studio.loading = loading.id;
  let page;
  try {
    page = await loading;
  } catch (error) {
    if (studio.loading !== loading.id) return undefined;
    studio.loading = null;
    if (error.filter !== undefined) return error;
    studio.page = { ...NO_ROWS, failed: true };
    studio.count = { text: "nothing is shown" };
    redraw(studio);
    fail(studio, error);
    return error;
  }
  if (studio.loading !== loading.id) return undefined;
  studio.loading = null;
  studio.page = page;
  learnLabels(studio, page.labels);
  if (!page.has_previous) studio.start = 1;
  studio.selected.clear();
  say(studio, "");
  redraw(studio);
  writeAddress(studio);
  if (recounting) await recount(studio);
  return undefined;
}

async function recount(studio) {
  studio.count = null;
  emit(studio, "count");
  const counting = request(studio, "count", wanted(studio));
  studio.counting = counting.id;
  let count;
  try {
    count = await counting;
  } catch (error) {
    count = { text: `not counted: ${error.sentence}` };
  }
  if (studio.counting !== counting.id) return;
  studio.count = count;
  studio.counting = null;
  emit(studio, "count");
  // Not awaited: the rows can be used meanwhile, and another view cancels it.
  if (count.exact === false) countExactly(studio);
}

async function countExactly(studio) {
  const counting = request(studio, "exact", wanted(studio));
  studio.counting = counting.id;
  try {
    const count = await counting;
    if (studio.counting === counting.id) studio.count = count;
  } catch {
    // The estimate stays.
  }
  if (studio.counting !== counting.id) return;
  studio.counting = null;
  emit(studio, "count");
}

// Goes to the first, previous, next or last page.
export async function turn(studio, where) {
  leaveView(studio);
  const { page, query, count } = studio;
  const rows = page?.rows.length ?? 0;
  const moves = {
    first: [null, "after", 1],
    previous: [page?.first, "before", studio.start && Math.max(1, studio.start - query.size)],
    next: [page?.last, "after", studio.start && studio.start + rows],
    last: [null, "before", count?.exact ? Math.max(1, count.rows - query.size + 1) : null],
  };
  const [place, direction, start] = moves[where];
  studio.start = start;
  Object.assign(query, { place, direction });
  studio.active.r = Math.max(0, studio.active.r === -1 ? -1 : 0);
  await load(studio);
}

export function sortBy(studio, column, add) {
  if (column.secret) {
    say(studio, `${column.name} is a secret, so rows can't be sorted by it`, true);
    return;
  }
  const { sort } = studio.query;
  const now = sort.find(([name]) => name === column.name);
  const others = add ? sort.filter(([name]) => name !== column.name) : [];
  // Ascending, descending, then unsorted.
  const next = !now ? [[column.name, false]] : !now[1] ? [[column.name, true]] : [];
  go(studio, { sort: [...others, ...next] });
}
