// The page's header: the database and its lock.

import { h } from "./dom.js";
import { buildLock } from "./lock.js";
import { on } from "./state.js";

export function buildHead(studio, first) {
  const title = h("span", { class: "ph-title" }, "…");
  on(studio, "info", () => {
    title.textContent = studio.info.title;
    title.title = studio.info.title;
  });
  return h("div", { class: "ph-bar ph-head" }, first, title, h("span", { class: "ph-push" }), ...buildLock(studio));
}
