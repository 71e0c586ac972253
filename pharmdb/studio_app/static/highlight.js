// Splits SQL into words, texts, numbers and comments, and colours them behind the text area.

import { h } from "./dom.js";

const SQL_PARTS =
  /(?<comment>--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|(?<text>'(?:[^']|'')*(?:'|$))|(?<name>"(?:[^"]|"")*(?:"|$))|(?<parameter>(?<![\w:\]]):[A-Za-z_]\w*)|(?<number>\b\d+(?:\.\d+)?\b)|(?<word>[A-Za-z_]\w*)/g;
const KEYWORDS = new Set(
  (
    "select from where and or not in is null like between exists as on using join left right full inner outer cross group by having " +
    "order asc desc limit offset union all distinct case when then else end with recursive values insert into update set delete " +
    "returning cast over partition filter true false explain pragma interval"
  ).split(" "),
);

// The names of a statement's parameters, such as `:name`, in order and each once.
export function parametersOf(sql) {
  const found = [...sql.matchAll(SQL_PARTS)].map((match) => match.groups.parameter).filter(Boolean);
  return [...new Set(found.map((name) => name.slice(1)))];
}

// The colours for a text area: an element that goes behind it.
export function createColours(area) {
  const colours = h("pre", { class: "ph-colours", "aria-hidden": "true" });
  const paint = () => {
    colours.replaceChildren(...coloured(area.value), "\n");
    colours.scrollTop = area.scrollTop;
  };
  area.addEventListener("input", paint);
  area.addEventListener("scroll", () => {
    colours.scrollTop = area.scrollTop;
  });
  paint();
  return { colours, paint };
}

function coloured(sql) {
  const parts = [];
  let from = 0;
  for (const match of sql.matchAll(SQL_PARTS)) {
    const [kind] = Object.entries(match.groups).find(([, text]) => text !== undefined);
    const isPlain = kind === "word" && !KEYWORDS.has(match[0].toLowerCase());
    parts.push(sql.slice(from, match.index), isPlain ? match[0] : h("span", { class: `ph-sql-${kind}` }, match[0]));
    from = match.index + match[0].length;
  }
  return [...parts, sql.slice(from)];
}
