// The tabs and their panels.

import { drawColumns } from "./columns.js";
import { h } from "./dom.js";
import { loadLog } from "./log.js";
import { say } from "./messages.js";
import { loadPicture } from "./schema.js";
import { idOf } from "./state.js";

const TABS = [
  ["rows", "Rows"],
  ["columns", "Columns"],
  ["sql", "SQL"],
  ["log", "Log"],
  ["schema", "Schema"],
];
const OPENED = { columns: drawColumns, log: loadLog, schema: loadPicture };

// The list of tabs; the empty panels are in `studio.ui.panels`.
export function buildTabs(studio) {
  studio.ui.panels = {};
  studio.ui.tabs = {};
  for (const [name, label] of TABS) {
    const id = idOf(studio, `tab-${name}`);
    studio.ui.tabs[name] = h(
      "button",
      {
        type: "button",
        role: "tab",
        id,
        "aria-controls": idOf(studio, name),
        "aria-selected": "false",
        tabindex: "-1",
        onclick: () => showTab(studio, name),
        onkeydown: (event) => tabKey(studio, event, name),
      },
      label,
    );
    studio.ui.panels[name] = h("div", {
      role: "tabpanel",
      id: idOf(studio, name),
      "aria-labelledby": id,
      class: "ph-panel",
      hidden: true,
      // A panel that scrolls can be scrolled by key.
      tabindex: name === "rows" ? undefined : "0",
    });
  }
  return h("div", { role: "tablist", "aria-label": "Views", class: "ph-tabs" }, ...Object.values(studio.ui.tabs));
}

export function showTab(studio, name) {
  for (const [each, tab] of Object.entries(studio.ui.tabs)) {
    studio.ui.panels[each].hidden = each !== name;
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
  }
  // A message is about what was done in its tab.
  if (studio.shown !== name) say(studio, "");
  studio.shown = name;
  OPENED[name]?.(studio);
}

function tabKey(studio, event, name) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  // With Alt or Command it is the browser's Back and Forward.
  if (!step || event.altKey || event.metaKey) return;
  event.preventDefault();
  const at = TABS.findIndex(([each]) => each === name);
  const [next] = TABS[(at + step + TABS.length) % TABS.length];
  showTab(studio, next);
  studio.ui.tabs[next].focus();
}
