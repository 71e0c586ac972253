// The paging buttons, and the line that shows the page's position.

import { button, h } from "./dom.js";
import { turn } from "./pages.js";
import { on } from "./state.js";

const TURNS = [
  ["first", "First"],
  ["previous", "Previous"],
  ["next", "Next"],
  ["last", "Last"],
];

// The elements for a toolbar.
export function buildPager(studio) {
  const buttons = {};
  for (const [where, label] of TURNS) {
    buttons[where] = button(label, () => {
      if (buttons[where].getAttribute("aria-disabled") !== "true") turn(studio, where);
    });
  }
  const status = h("p", { class: "ph-status", "data-testid": "status" });
  const draw = () => {
    status.textContent = statusOf(studio);
    const { page } = studio;
    const isOff = {
      first: !page?.has_previous,
      previous: !page?.has_previous,
      next: !page?.has_next,
      last: !page?.has_next,
    };
    // Not `disabled`, because a disabled button would lose the keyboard focus.
    for (const [where] of TURNS) buttons[where].setAttribute("aria-disabled", String(isOff[where]));
  };
  on(studio, "draw", draw);
  on(studio, "count", draw);
  return [...Object.values(buttons), status];
}

function statusOf({ page, start, count, counting }) {
  const rows = page?.rows.length ?? 0;
  const number = (n) => n.toLocaleString("en");
  const place = rows && start ? `row ${number(start)}–${number(start + rows - 1)} of ` : "";
  const total = place && count?.exact ? number(count.rows) : (count?.text ?? "…");
  const busy = count && counting ? ", counting" : "";
  return `${place}${total}${busy}${page?.where ? ` where ${page.where}` : ""}${page?.ms ? ` · ${page.ms} ms` : ""}`;
}
