// Completion of the SQL statement: table and column names, and some keywords.

import { h } from "./dom.js";
import { idOf } from "./state.js";

const SQL_WORDS = [
  "SELECT",
  "FROM",
  "WHERE",
  "JOIN",
  "GROUP BY",
  "ORDER BY",
  "LIMIT",
  "COUNT(*)",
  "DISTINCT",
  "BETWEEN",
];
const MOST = 12;

// Creates the list for a text area; the caller puts it beside the area.
export function createCompletion(studio, area) {
  const list = h("ul", {
    role: "listbox",
    id: idOf(studio, "words"),
    "aria-label": "Tables and columns",
    class: "ph-words",
    hidden: true,
  });
  const completion = { area, list, choice: 0, typed: "", isChosen: false };
  area.addEventListener("input", () => suggest(studio, completion));
  area.addEventListener("blur", () => closeWords(completion));
  return completion;
}

// Tables and columns that begin with the word before the cursor; after `table.` or an alias, only its columns.
export function suggest(studio, completion, asked = false) {
  const { area, list } = completion;
  const before = area.value.slice(0, area.selectionStart);
  const [, qualifier, word] = /(?:(\w+)\.)?(\w*)$/.exec(before);
  const names = asked || qualifier || word.length >= 2 ? namesFor(studio, area.value, qualifier) : [];
  const found = names.filter((n) => n.toLowerCase().startsWith(word.toLowerCase()) && n !== word).slice(0, MOST);
  if (!found.length) {
    closeWords(completion);
    return;
  }
  completion.typed = word;
  list.replaceChildren(
    ...found.map((name, n) =>
      h(
        "li",
        {
          role: "option",
          id: idOf(studio, `word-${n}`),
          onmousedown: (event) => {
            event.preventDefault();
            completion.choice = n;
            complete(completion);
          },
        },
        name,
      ),
    ),
  );
  list.hidden = false;
  // Enter takes a suggestion only if it was asked for or chosen: a finished word such as `desc` is not rewritten.
  completion.isChosen = asked;
  choose(completion, 0);
}

function namesFor({ tables }, sql, qualifier) {
  if (!qualifier)
    return [
      ...tables.map((t) => t.name),
      ...new Set(tables.flatMap((t) => t.columns.map((c) => c.name))),
      ...SQL_WORDS,
    ];
  const aliased = new RegExp(`\\b(\\w+)\\s+(?:as\\s+)?${qualifier}\\b`, "i").exec(sql)?.[1];
  const table = tables.find((t) => t.name === qualifier) ?? tables.find((t) => t.name === aliased);
  return (table?.columns ?? []).map((c) => c.name);
}

function choose(completion, n) {
  const options = [...completion.list.children];
  completion.choice = n;
  for (const option of options) option.setAttribute("aria-selected", String(option === options[n]));
  completion.area.setAttribute("aria-activedescendant", options[n].id);
}

export function closeWords({ area, list }) {
  list.hidden = true;
  area.removeAttribute("aria-activedescendant");
}

function complete(completion) {
  const { area, list, choice, typed } = completion;
  const at = area.selectionStart;
  area.setRangeText(list.children[choice].textContent, at - typed.length, at, "end");
  closeWords(completion);
}

// The action of a key on the open list, or null if the key has none.
export function completionKey(completion, event) {
  const { list, choice } = completion;
  if (list.hidden) return null;
  const options = list.children.length;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step)
    return () => {
      // The first step chooses what is marked already.
      choose(completion, completion.isChosen || step < 0 ? (choice + step + options) % options : choice);
      completion.isChosen = true;
    };
  if (event.key === "Enter" && !completion.isChosen) return null;
  if (event.key === "Enter" || event.key === "Tab") return () => complete(completion);
  if (event.key === "Escape") return () => closeWords(completion);
  return null;
}
