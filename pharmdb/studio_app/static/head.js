// The page's header: the database, its lock, and the table selector.

import { h } from "./dom.js";
import { buildLock } from "./lock.js";
import { go } from "./pages.js";
import { idOf, on } from "./state.js";

export function buildHead(studio) {
  const id = idOf(studio, "table");
  const title = h("span", { class: "ph-title" }, "…");
  const tables = h("select", { id, onchange: () => go(studio, { table: tables.value }) });
  on(studio, "info", () => {
    title.textContent = studio.info.title;
    tables.replaceChildren(...studio.tables.map((t) => h("option", { value: t.name }, t.name)));
  });
  on(studio, "view", () => {
    tables.value = studio.table.name;
  });
  return h(
    "div",
    { class: "ph-bar ph-head" },
    title,
    ...buildLock(studio),
    h("span", { class: "ph-push" }),
    h("label", { for: id }, "Table"),
    tables,
  );
}
