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

function statusOf({ page, start, count }) {
  const rows = page?.rows.length ?? 0;
  const place =
    rows && start ? `rows ${start.toLocaleString("en")}–${(start + rows - 1).toLocaleString("en")} of ` : "";
  return `${place}${count ? count.text : "…"}${page?.ms ? ` · ${page.ms} ms` : ""}`;
}
