// Goes to a row by its number or its key.

import { button, h } from "./dom.js";
import { request } from "./kernel.js";
import { fail } from "./messages.js";
import { go, wanted } from "./pages.js";
import { goTo } from "./selection.js";
import { idOf, on } from "./state.js";

// The elements for a toolbar.
export function buildGoing(studio) {
  const id = idOf(studio, "going");
  const kinds = h("select", { "aria-label": "Go to a row by" });
  const box = h("input", {
    type: "text",
    id,
    size: "8",
    "aria-label": "Go to",
    placeholder: "go to",
    onkeydown: (event) => {
      if (event.key === "Enter") locate(studio, kinds.value, box.value);
    },
  });
  on(studio, "table", () => {
    const { key, readOnly } = studio.table;
    const options = [
      ["number", "row"],
      ...(key.length === 1 && !(readOnly && key[0] === "ctid") ? [["key", key[0]]] : []),
    ];
    kinds.replaceChildren(...options.map(([value, label]) => h("option", { value }, label)));
    box.value = "";
  });
  const start = button("Go", () => locate(studio, kinds.value, box.value), { "aria-label": "Go to this row" });
  return [h("span", { class: "ph-together" }, kinds, box, start)];
}

async function locate(studio, kind, text) {
  if (!text.trim()) return;
  let found;
  try {
    found = await request(studio, "locate", { ...wanted(studio), [kind]: text });
  } catch (error) {
    fail(studio, error);
    return;
  }
  await go(studio, { place: found.place, direction: "from", start: found.start }, false);
  goTo(studio, 0, Math.max(0, studio.active.c));
}
