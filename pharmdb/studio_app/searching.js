// A dataframe with a search field above it. Its rows are all here, so it needs no kernel once it is shown.

function render({ model, el }) {
  const columns = model.get("columns");
  const rows = model.get("rows");
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const lower = (text) => text.replace(/[A-Z]/g, (c) => c.toLowerCase());
  // The text with each hit in a <mark>.
  const marked = (text, wanted) => {
    const parts = [];
    let from = 0;
    for (let at = wanted ? lower(text).indexOf(wanted) : -1; at >= 0; at = lower(text).indexOf(wanted, from)) {
      parts.push(text.slice(from, at), make("mark", {}, text.slice(at, at + wanted.length)));
      from = at + wanted.length;
    }
    return [...parts, text.slice(from)];
  };
  const count = make("span", { role: "status" });
  const body = make("tbody");
  // JupyterLab's one-key commands must not fire while somebody types.
  const input = make("input", { type: "search", "aria-label": "Search the table", placeholder: "search", "data-lm-suppress-shortcuts": "true" });
  const draw = () => {
    const wanted = lower(input.value);
    const found = rows.filter((row) => row.some((text) => lower(text).includes(wanted)));
    body.replaceChildren(...found.map((row) => make("tr", {}, ...row.map((text) => make("td", { dir: "auto" }, ...marked(text, wanted))))));
    count.textContent = ` ${found.length} of ${rows.length} rows`;
  };
  input.addEventListener("input", draw);
  const head = make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name))));
  el.append(make("div", { class: "jp-RenderedHTMLCommon" }, make("p", {}, input, count), make("table", { class: "dataframe" }, head, body)));
  draw();
}

export default { render };
