// The list of tables beside the rows: with their numbers of rows, searchable, the pinned ones first.

import { button, h } from "./dom.js";
import { request } from "./kernel.js";
import { go } from "./pages.js";
import { idOf, on } from "./state.js";
import { asciiLower } from "./text.js";

const pinsName = (studio) => `pharmdb-studio-pins:${studio.info.title}`;

// The button that opens the list, and the list.
export function buildTables(studio) {
  const id = idOf(studio, "tables");
  const search = h("input", {
    type: "search",
    "aria-label": "Search tables",
    placeholder: "search tables",
    oninput: () => drawTables(studio, list),
    onkeydown: (event) => {
      if (event.key === "ArrowDown") focusTable(list, 0, event);
      if (event.key === "Enter") namesOf(list)[0]?.click();
    },
  });
  const list = h("ul", { "aria-label": "Tables", onkeydown: (event) => listKey(list, event) });
  list.search = search;
  const nav = h("nav", { id, class: "ph-tables", "aria-label": "Tables" }, search, list);
  const toggle = button("☰ Tables", () => openList(studio, nav.hidden), {
    "aria-controls": id,
    "aria-expanded": "true",
  });
  Object.assign(studio.ui, { tables: nav, tablesButton: toggle });
  on(studio, "info", () => {
    studio.pins = readPins(studio);
    drawTables(studio, list);
    loadSizes(studio, list);
  });
  on(studio, "table", () => {
    search.value = "";
    drawTables(studio, list);
    if (studio.ui.root.dataset.width === "narrow") openList(studio, false);
  });
  on(studio, "written", () => loadSizes(studio, list));
  on(studio, "width", () => openList(studio, studio.ui.root.dataset.width !== "narrow"));
  return [toggle, nav];
}

function openList(studio, isOpen) {
  studio.ui.tables.hidden = !isOpen;
  studio.ui.tablesButton.setAttribute("aria-expanded", String(isOpen));
  if (isOpen && studio.ui.root.dataset.width === "narrow") studio.ui.tables.querySelector("input").focus();
}

function readPins(studio) {
  try {
    return JSON.parse(localStorage.getItem(pinsName(studio)) ?? "[]");
  } catch {
    return [];
  }
}

async function loadSizes(studio, list) {
  try {
    studio.sizes = (await request(studio, "sizes")).sizes;
  } catch {
    studio.sizes = {}; // too slow, or no longer wanted: the list is complete without them
  }
  drawTables(studio, list);
}

const namesOf = (list) => [...list.querySelectorAll("[data-table]")];

function drawTables(studio, list) {
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  const wanted = asciiLower(list.search.value);
  const found = studio.tables.filter((t) => asciiLower(`${t.name} ${t.model}`).includes(wanted));
  const isPinned = (t) => studio.pins.includes(t.name);
  const shown = [...found.filter(isPinned), ...found.filter((t) => !isPinned(t))];
  list.replaceChildren(...shown.map((table) => drawTable(studio, list, table, isPinned(table))));
  if (!shown.length) list.append(h("li", { class: "ph-quiet" }, "no such table"));
  if (focused) [...list.querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focused)?.focus();
}

function drawTable(studio, list, { name }, pinned) {
  const size = studio.sizes[name];
  const isHere = name === studio.table?.name;
  return h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        "data-table": name,
        "aria-label": `${name}${size ? `, ${size.text}` : ""}`,
        "aria-current": isHere ? "page" : undefined,
        onclick: () => go(studio, { table: name }),
      },
      h("span", {}, name),
      h("span", { class: "ph-count" }, size ? shortCount(size) : ""),
    ),
    button(pinned ? "★" : "☆", () => togglePin(studio, list, name), {
      class: "ph-pin",
      "aria-label": `Pin ${name}`,
      "aria-pressed": String(pinned),
    }),
  );
}

function shortCount({ rows, exact, estimate }) {
  return `${exact ? "" : estimate ? "≈ " : "> "}${rows.toLocaleString("en")}`;
}

function togglePin(studio, list, name) {
  if (studio.pins.includes(name)) studio.pins = studio.pins.filter((each) => each !== name);
  else studio.pins = [...studio.pins, name];
  localStorage.setItem(pinsName(studio), JSON.stringify(studio.pins));
  drawTables(studio, list);
}

function focusTable(list, n, event) {
  const names = namesOf(list);
  event.preventDefault();
  names[Math.max(0, Math.min(n, names.length - 1))]?.focus();
}

function listKey(list, event) {
  const at = namesOf(list).findIndex((b) => b.parentElement.contains(event.target));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: Number.POSITIVE_INFINITY }[event.key];
  if (event.key === "ArrowUp" && at === 0) {
    event.preventDefault();
    list.search.focus();
  } else if (to !== undefined) focusTable(list, to, event);
}
