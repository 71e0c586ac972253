// A dataframe with a search field. The page has all rows, so no kernel is needed once it is displayed.

import { h, marked } from "./dom.js";
import { asciiLower } from "./text.js";

function render({ model, el }) {
  const columns = model.get("columns");
  const rows = model.get("rows");
  const count = h("span", { role: "status" });
  const body = h("tbody");
  const input = h("input", { type: "search", "aria-label": "Search the table", placeholder: "search" });
  const draw = () => {
    const wanted = asciiLower(input.value);
    const found = rows.filter((row) => row.some((text) => asciiLower(text).includes(wanted)));
    body.replaceChildren(
      ...found.map((row) => h("tr", {}, ...row.map((text) => h("td", { dir: "auto" }, ...marked(text, wanted))))),
    );
    count.textContent = ` ${found.length} of ${rows.length} rows`;
  };
  input.addEventListener("input", draw);
  const head = h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, name))));
  el.append(
    h(
      "div",
      { class: "jp-RenderedHTMLCommon" },
      h("p", {}, input, count),
      h("table", { class: "dataframe" }, head, body),
    ),
  );
  draw();
}

export default { render };
