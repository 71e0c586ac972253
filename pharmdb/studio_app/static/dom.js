// Creates the page's elements. Text from the database becomes text nodes, never markup.

import { asciiLower } from "./text.js";

const FOCUSABLE = new Set(["BUTTON", "INPUT", "SELECT", "TEXTAREA", "A", "SUMMARY"]);
const PROPERTIES = new Set(["value", "checked", "selected"]);

// Creates an element with attributes, listeners (`onclick`) and children; strings become text nodes.
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  // JupyterLab's single-key shortcuts must not fire inside.
  if (FOCUSABLE.has(element.tagName) || properties.tabindex !== undefined)
    element.setAttribute("data-lm-suppress-shortcuts", "true");
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (label, onclick, properties = {}) =>
  h("button", { type: "button", onclick, ...properties }, label);

// A plain table in a named, scrollable region; `numeric` says which columns contain numbers.
export function plainTable(label, head, rows, { caption = true, numeric = [] } = {}) {
  const heading = (text, n) => h("th", { scope: "col", class: numeric[n] && "ph-number" }, text);
  return h(
    "div",
    { class: "ph-scroll", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      { class: "ph-plain" },
      caption && h("caption", {}, caption === true ? label : caption),
      h("thead", {}, h("tr", {}, ...head.map(heading))),
      h("tbody", {}, ...rows),
    ),
  );
}

// A text split into parts, with each search hit in a <mark>.
export function marked(text, searched) {
  const wanted = asciiLower(searched);
  const lower = asciiLower(text);
  const parts = [];
  let from = 0;
  for (let at = wanted ? lower.indexOf(wanted) : -1; at >= 0; at = lower.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), h("mark", {}, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...parts, text.slice(from)].filter((part) => part !== "");
}
