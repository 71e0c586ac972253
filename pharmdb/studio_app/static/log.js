// The panel of executed statements and of saves.

import { ask } from "./dialog.js";
import { button, h, plainTable } from "./dom.js";
import { request } from "./kernel.js";
import { fail, say } from "./messages.js";
import { load } from "./pages.js";
import { canEdit, emit } from "./state.js";
import { plural, visible } from "./text.js";

const MOST_STATEMENTS = 500;
const STATEMENT_HEAD = ["time, UTC", "statement", "parameters", "rows", "ms", "error"];
const SAVE_HEAD = ["time, UTC", "revert", "user", "change", "table", "key", "before", "after"];
const MOST_CHANGES_SHOWN = 20; // of one save

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
    plainTable(
      "Saves, newest first",
      SAVE_HEAD,
      log.saves.flatMap((save) => drawSave(studio, save)),
    ),
    plainTable("Statements, newest first", STATEMENT_HEAD, studio.statements.map(drawStatement)),
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

function drawSave(studio, save) {
  const { at, who, state, statement } = save;
  const all = save.changes;
  const changes = all?.slice(0, MOST_CHANGES_SHOWN);
  const saved = changes ?? [{ kind: "SQL", table: "", key: [], before: {}, after: { statement: statement } }];
  const taken = Object.entries(save.lost ?? {}).map(([table, n]) => `${n} of ${table}`);
  const more = [
    all?.length > saved.length && `and ${plural(all.length - saved.length, "other change")}`,
    taken.length && `deleted with it: ${taken.join(", ")}`,
  ].filter(Boolean);
  return saved.map((c, n) =>
    tableRow([
      at.replace("T", " ").replace("+00:00", ""),
      n ? "" : h("span", {}, revertButton(studio, save), more.join("; ")),
      who,
      `${c.kind}${state === "saved" ? "" : " (not confirmed)"}`,
      c.table,
      c.key.join(", "),
      visible(JSON.stringify(c.before)),
      visible(JSON.stringify(c.after)),
    ]),
  );
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
