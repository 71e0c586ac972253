// The panel of executed statements and of saves.

import { button, h, plainTable } from "./dom.js";
import { request } from "./kernel.js";
import { fail } from "./messages.js";
import { visible } from "./text.js";

const MOST_STATEMENTS = 500;
const STATEMENT_HEAD = ["time, UTC", "statement", "parameters", "rows", "ms", "error"];
const SAVE_HEAD = ["time, UTC", "user", "change", "table", "key", "before", "after"];

export async function loadLog(studio) {
  let log;
  try {
    log = await request(studio, "log", { since: studio.statements[0]?.number ?? 0 });
  } catch (error) {
    fail(studio, error);
    return;
  }
  studio.statements = [...log.statements.reverse(), ...studio.statements].slice(0, MOST_STATEMENTS);
  studio.ui.panels.log.replaceChildren(
    button("Refresh", () => loadLog(studio)),
    plainTable("Statements, newest first", STATEMENT_HEAD, studio.statements.map(drawStatement)),
    plainTable("Saves, newest first", SAVE_HEAD, log.saves.flatMap(drawSave)),
  );
}

const tableRow = (cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell)));

function drawStatement({ at, statement, parameters, rows, ms, error }) {
  return tableRow([
    at,
    h("code", {}, visible(statement)),
    visible(parameters),
    rows === null ? "" : String(rows),
    String(ms),
    error,
  ]);
}

function drawSave({ at, who, state, changes, statement }) {
  const saved = changes ?? [{ kind: "SQL", table: "", key: [], before: {}, after: { statement: statement } }];
  return saved.map((c) =>
    tableRow([
      at.replace("T", " ").replace("+00:00", ""),
      who,
      `${c.kind}${state === "saved" ? "" : " (not confirmed)"}`,
      c.table,
      c.key.join(", "),
      visible(JSON.stringify(c.before)),
      visible(JSON.stringify(c.after)),
    ]),
  );
}
