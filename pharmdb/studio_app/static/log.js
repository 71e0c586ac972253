// The panel of executed statements and of saves.

import { ask } from "./dialog.js";
import { button, h, plainTable } from "./dom.js";
import { request } from "./kernel.js";
import { fail, say } from "./messages.js";
import { load } from "./pages.js";
import { canEdit, emit } from "./state.js";
import { plural, visible } from "./text.js";

const MOST_STATEMENTS = 500;
const STATEMENT_HEAD = ["time, UTC", "statement", "times", "parameters", "rows", "ms", "error"];
const STATEMENT_NUMBERS = [false, false, true, false, true, true, false];
const SAVE_HEAD = ["time, UTC", "revert", "user", "change", "table", "key", "before", "after"];
const CHANGE_HEAD = ["change", "table", "key", "before", "after"];
const CHANGES_AT_ONCE = 200; // of one save
const KINDS = { insert: "new row", update: "update", delete: "deletion" };

export async function loadLog(studio) {
  let log;
  try {
    log = await request(studio, "log", { since: Math.max(0, ...studio.statements.map((entry) => entry.number)) });
  } catch (error) {
    fail(studio, error);
    return;
  }
  // One that was run again comes again, and takes the place of what it was.
  const again = new Set(log.statements.map((entry) => entry.first));
  const others = studio.statements.filter((entry) => !again.has(entry.first));
  studio.statements = [...log.statements.reverse(), ...others].slice(0, MOST_STATEMENTS);
  studio.ui.panels.log.replaceChildren(
    button("Refresh", () => loadLog(studio)),
    plainTable(
      "Saves, newest first",
      SAVE_HEAD,
      log.saves.map((save) => drawSave(studio, save)),
    ),
    plainTable("Statements, newest first", STATEMENT_HEAD, studio.statements.map(drawStatement), {
      numeric: STATEMENT_NUMBERS,
    }),
  );
}

const tableRow = (cells, numeric = []) =>
  h("tr", {}, ...cells.map((cell, n) => h("td", { class: numeric[n] && "ph-number" }, cell)));

function drawStatement({ at, statement, times, parameters, more, rows, ms, error }) {
  const cells = [
    at,
    h("code", {}, visible(statement)),
    grouped(times),
    times > 1 ? drawParameters(times, [parameters, ...more]) : visible(parameters),
    rows === null ? "" : grouped(rows),
    String(ms),
    error,
  ];
  return tableRow(cells, STATEMENT_NUMBERS);
}

const grouped = (n) => n.toLocaleString("en");

function drawParameters(times, known) {
  const left = times - known.length;
  return h(
    "details",
    {},
    h("summary", {}, visible(known[0]) || "none"),
    ...known.slice(1).map((each) => h("p", {}, visible(each))),
    left > 0 && h("p", { class: "ph-quiet" }, `and ${grouped(left)} more`),
  );
}

// One line for a save, with the change itself or their number.
function drawSave(studio, save) {
  const { at, who, state, statement } = save;
  const changes = save.changes ?? [{ kind: "SQL", table: "", key: [], before: {}, after: { statement: statement } }];
  const taken = Object.entries(save.lost ?? {}).map(([table, n]) => `${n} of ${table}`);
  const also = taken.length ? `deleted with it: ${taken.join(", ")}` : "";
  const unsure = state === "saved" ? "" : " (not confirmed)";
  const head = [at.replace("T", " ").replace("+00:00", ""), h("span", {}, revertButton(studio, save), also), who];
  if (changes.length === 1) {
    const [change, ...cells] = changeCells(changes[0]);
    return tableRow([...head, `${change}${unsure}`, ...cells]);
  }
  const row = tableRow([...head, `${summaryOfChanges(changes)}${unsure}`]);
  row.append(h("td", { colspan: SAVE_HEAD.length - row.children.length }, drawChanges(save, changes)));
  return row;
}

const changeCells = (change) => [
  change.kind,
  change.table,
  change.key.join(", "),
  visible(JSON.stringify(change.before)),
  visible(JSON.stringify(change.after)),
];

// Such as "1,200 updates of attempts, 1 deletion of users".
function summaryOfChanges(changes) {
  const counts = new Map();
  for (const { kind, table } of changes) {
    const name = JSON.stringify([kind, table]);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts]
    .map(([name, n]) => {
      const [kind, table] = JSON.parse(name);
      return `${grouped(n)} ${KINDS[kind]}${n === 1 ? "" : "s"} of ${table}`;
    })
    .join(", ");
}

// Drawn when it is opened, and then so many rows at a time.
function drawChanges(save, changes) {
  const body = h("div");
  let shown = 0;
  const draw = () => {
    shown = Math.min(changes.length, shown + CHANGES_AT_ONCE);
    const rows = changes.slice(0, shown).map((change) => tableRow(changeCells(change)));
    const left = Math.min(CHANGES_AT_ONCE, changes.length - shown);
    body.replaceChildren(
      plainTable(`Changes of the save of ${save.at}`, CHANGE_HEAD, rows, { caption: false }),
      left ? button(`Show ${left} more`, draw) : "",
    );
  };
  const ontoggle = () => {
    if (!shown) draw();
  };
  return h("details", { ontoggle }, h("summary", {}, `Show each of the ${grouped(changes.length)} changes`), body);
}

function revertButton(studio, save) {
  if (save.reverted) return "reverted ";
  if (!save.changes || save.state !== "saved" || !canEdit(studio)) return "";
  return button("Revert this save", () => askRevert(studio, save), { "aria-label": `Revert the save of ${save.at}` });
}

function askRevert(studio, save) {
  const lost = Object.values(save.lost ?? {}).reduce((sum, n) => sum + n, 0);
  ask(
    studio,
    `Revert the save of ${save.at.slice(0, 19).replace("T", " ")}?`,
    [
      h(
        "p",
        {},
        `${plural(save.changes.length, "change")}${lost ? `, and ${plural(lost, "row")} that went with them,` : ""} will be undone in one transaction.`,
      ),
      h(
        "p",
        {},
        "A row that was changed since is a conflict: then nothing is reverted. Passwords can't be brought back.",
      ),
    ],
    [["Revert", () => revert(studio, save)]],
  );
}

async function revert(studio, save) {
  let done;
  try {
    done = await request(studio, "revert", { save: save.save });
  } catch (error) {
    fail(studio, error);
    return;
  }
  if (done.problems.length) {
    say(studio, `Nothing was reverted: ${done.problems.map((p) => p.sentence).join("; ")}`, true);
    return;
  }
  await load(studio, true);
  emit(studio, "written");
  await loadLog(studio);
  const passwords = done.passwords.length ? ` · set a new password for ${done.passwords.join(", ")}` : "";
  say(
    studio,
    [`${plural(done.rows, "row")} reverted${passwords}`, done.warning].filter(Boolean).join(" · "),
    Boolean(passwords || done.warning),
  );
}
