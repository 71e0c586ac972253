// Statements that the browser keeps: the latest ones, and those that were saved by name; and links to one.

import { ask } from "./dialog.js";
import { button, h } from "./dom.js";
import { say } from "./messages.js";
import { idOf, on } from "./state.js";

const MOST_RECENT = 50;
const SHORT = 70;

const statementsName = (studio) => `pharmdb-studio-sql:${studio.info.title}`;

function kept(studio) {
  try {
    return { recent: [], saved: {}, ...JSON.parse(localStorage.getItem(statementsName(studio)) ?? "{}") };
  } catch {
    return { recent: [], saved: {} };
  }
}

const keep = (studio, all) => localStorage.setItem(statementsName(studio), JSON.stringify(all));

export function remember(studio, sql) {
  const all = kept(studio);
  const text = sql.trim();
  if (!text) return;
  all.recent = [text, ...all.recent.filter((each) => each !== text)].slice(0, MOST_RECENT);
  keep(studio, all);
}

// The elements for a toolbar; `show` puts a statement into the text area, `read` returns the one that is there.
export function buildStatements(studio, read, show) {
  const recent = h("select", { "aria-label": "Recent statements", onchange: () => take(recent) });
  const saved = h("select", { "aria-label": "Saved statements", onchange: () => take(saved) });
  const take = (list) => {
    if (list.value) show(list.value);
    list.selectedIndex = 0;
  };
  const option = (label, value) => h("option", { value }, label.length > SHORT ? `${label.slice(0, SHORT)}…` : label);
  const draw = () => {
    const all = kept(studio);
    recent.replaceChildren(option("history", ""), ...all.recent.map((sql) => option(sql.replace(/\s+/g, " "), sql)));
    saved.replaceChildren(option("saved", ""), ...Object.entries(all.saved).map(([name, sql]) => option(name, sql)));
  };
  on(studio, "info", draw);
  const bar = [
    recent,
    saved,
    button("Save as…", () => askName(studio, read(), draw)),
    button("Copy link", () => copyLink(studio, read())),
  ];
  return { bar, draw };
}

function askName(studio, sql, draw) {
  if (!sql.trim()) {
    say(studio, "type a statement first", true);
    return;
  }
  const id = idOf(studio, "statement-name");
  const all = kept(studio);
  const name = Object.keys(all.saved).find((each) => all.saved[each] === sql.trim()) ?? "";
  const input = h("input", { type: "text", id, value: name });
  const store = (change) => {
    change(all.saved);
    keep(studio, all);
    draw();
  };
  const save = () => {
    if (!input.value.trim()) return false;
    store((saved) => {
      saved[input.value.trim()] = sql.trim();
    });
    say(studio, `saved as “${input.value.trim()}” in this browser`);
    return true;
  };
  const forget = () => store((saved) => delete saved[name]);
  ask(
    studio,
    "Save the statement in this browser",
    [h("p", {}, h("label", { for: id }, "Name "), input)],
    [["Save", save], ...(name ? [[`Delete “${name}”`, forget]] : [])],
  );
}

async function copyLink(studio, sql) {
  const url = new URL(location.href);
  url.hash = new URLSearchParams({ sql });
  try {
    await navigator.clipboard.writeText(url.href);
    say(studio, "link copied: it shows the statement, and does not run it");
  } catch {
    say(studio, `the browser does not allow to copy; the link is ${url.href}`, true);
  }
}

// The statement that the page's address contains, or null.
export const linkedStatement = () => new URLSearchParams(location.hash.slice(1)).get("sql");
