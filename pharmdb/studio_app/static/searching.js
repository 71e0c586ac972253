// A dataframe that can be searched and sorted. The page has all rows, so no kernel is needed once it is displayed.

import { button, h, marked } from "./dom.js";
import { asciiLower } from "./text.js";

const HEADING = "all: revert; font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer";
const DIRECTIONS = { ascending: " ▲", descending: " ▼", none: "" };

function render({ model, el }) {
  const columns = model.get("columns");
  const rows = model.get("rows");
  const order = { column: null, direction: "none" };
  const count = h("span", { role: "status" });
  const body = h("tbody");
  const input = h("input", { type: "search", "aria-label": "Search the table", placeholder: "search" });
  const draw = () => {
    const wanted = asciiLower(input.value);
    const found = sorted(rows, order, model.get("numbers")).filter((row) =>
      row.some((text) => asciiLower(text).includes(wanted)),
    );
    body.replaceChildren(
      ...found.map((row) => h("tr", {}, ...row.map((text) => h("td", { dir: "auto" }, ...marked(text, wanted))))),
    );
    count.textContent = ` ${found.length} of ${rows.length} rows`;
  };
  input.addEventListener("input", draw);
  const headings = columns.map((name, n) =>
    h(
      "th",
      { scope: "col" },
      button(name, () => sortRows(n), { style: HEADING }),
      h("span", { "aria-hidden": "true" }),
    ),
  );
  // Ascending, descending, then as the dataframe has them.
  const sortRows = (n) => {
    const next = { none: "ascending", ascending: "descending", descending: "none" };
    order.direction = order.column === n ? next[order.direction] : "ascending";
    order.column = n;
    for (const [each, heading] of headings.entries()) {
      const direction = each === n ? order.direction : "none";
      heading.setAttribute("aria-sort", direction);
      heading.lastChild.textContent = DIRECTIONS[direction];
    }
    draw();
  };
  el.append(
    h(
      "div",
      { class: "jp-RenderedHTMLCommon" },
      h("p", {}, input, count),
      h("table", { class: "dataframe" }, h("thead", {}, h("tr", {}, ...headings)), body),
    ),
  );
  draw();
}

// Missing values come last in both directions.
function sorted(rows, { column, direction }, numbers) {
  if (direction === "none") return rows;
  const sign = direction === "ascending" ? 1 : -1;
  const compare = numbers[column]
    ? (a, b) => Number(a) - Number(b)
    : new Intl.Collator(undefined, { sensitivity: "base" }).compare;
  return rows.toSorted((first, second) => {
    const [a, b] = [first[column], second[column]];
    return Number(a === "") - Number(b === "") || sign * compare(a, b);
  });
}

export default { render };
