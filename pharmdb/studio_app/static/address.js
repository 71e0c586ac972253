// The page's address contains the view, so that it can be bookmarked, shared and reloaded.

import { recordView } from "./history.js";
import { say } from "./messages.js";
import { emptyQuery } from "./state.js";

const LONGEST_PLACE = 1500; // the most characters of a position that are put in the address

export function readAddress(studio) {
  const address = new URLSearchParams(location.hash.slice(1));
  const change = { ...emptyQuery(), table: address.get("table") ?? studio.model.get("table"), start: 1 };
  if (!studio.tables.some((t) => t.name === change.table)) change.table = studio.model.get("table");
  try {
    change.filters = address.getAll("f").map(readFilter);
    change.sort = (address.get("sort") ?? "")
      .split(",")
      .filter(Boolean)
      .map((s) => [decodeURIComponent(s.replace(/^-/, "")), s.startsWith("-")]);
    change.match = address.get("match") === "any" ? "any" : "all";
    change.search = address.get("q") ?? "";
    change.size = Number(address.get("size")) || 50;
    if (address.get("from")) {
      change.place = JSON.parse(address.get("from"));
      change.direction = "from";
      change.start = Number(address.get("row")) || null;
    }
  } catch {
    say(studio, "the address could not be read", true);
  }
  return change;
}

function readFilter(text) {
  const [column, operator, value = "", upper = "", items = []] = JSON.parse(text);
  return { column, operator, value, upper, items };
}

export function writeAddress(studio) {
  const { filters, match, search, sort, size } = studio.query;
  const { page } = studio;
  const address = new URLSearchParams({ table: studio.table.name });
  for (const f of filters) address.append("f", JSON.stringify([f.column, f.operator, f.value, f.upper, f.items]));
  if (match === "any") address.set("match", "any");
  if (search) address.set("q", search);
  if (sort.length)
    address.set("sort", sort.map(([name, down]) => (down ? "-" : "") + encodeURIComponent(name)).join(","));
  if (size !== 50) address.set("size", size);
  if (page?.has_previous && page.first && JSON.stringify(page.first).length < LONGEST_PLACE) {
    address.set("from", JSON.stringify(page.first));
    if (studio.start) address.set("row", studio.start);
  }
  recordView(studio, `#${address}`);
}
