// Staged changes: inserts, updates and deletions, in order, until they are saved.

import { isCut, textOf } from "./cells.js";
import { keepDraft } from "./drafts.js";
import { isStaged, originalCell } from "./lines.js";

// The cells of a line by column name, as they are in the database.
const beforeOf = (studio, line) => Object.fromEntries(studio.table.columns.map((c, n) => [c.name, line.cells[n]]));

// Creates a change of the shown table; the caller adds it and saves the draft.
function addChange(studio, kind, fields) {
  const change = {
    id: studio.nextChange,
    kind,
    table: studio.table.name,
    key: [],
    values: {},
    before: {},
    cascade: {},
    problems: [],
    ...fields,
  };
  studio.nextChange += 1;
  studio.changes.push(change);
  return change;
}

export const addInsert = (studio, values) => addChange(studio, "insert", { values });

// Stages the deletion of a line, in place of other changes staged for it.
export function addDeletion(studio, line, cascade) {
  if (line.change) dropChanges(studio, [line.change]);
  return addChange(studio, "delete", { key: line.key, before: beforeOf(studio, line), cascade });
}

export function dropChanges(studio, dropped) {
  studio.changes = studio.changes.filter((c) => !dropped.includes(c));
}

function changeFor(studio, line) {
  line.change ??= addChange(studio, "update", { key: line.key, before: beforeOf(studio, line) });
  return line.change;
}

// Stages a cell's new text. `whole` is the full text of a truncated cell.
export function stage(studio, line, column, text, whole = undefined) {
  if (line.change?.kind === "delete") return;
  const original = originalCell(studio, line, column);
  const unchanged =
    !line.isNew && (isCut(original) ? text === whole && !isStaged(line, column) : text === textOf(original ?? null));
  if (unchanged && !line.change) return;
  const change = changeFor(studio, line);
  if (unchanged) delete change.values[column.name];
  else change.values[column.name] = text;
  change.problems = change.problems.filter((p) => p.column !== column.name);
  prune(studio, change);
}

export function stagePassword(studio, line, password) {
  const change = changeFor(studio, line);
  change.password = password;
  change.problems = change.problems.filter(
    (p) => studio.table.columns.find((c) => c.name === p.column)?.kind !== "password",
  );
  keepDraft(studio);
}

// An update that no longer changes anything is removed.
export function prune(studio, change) {
  if (change.kind === "update" && !Object.keys(change.values).length && change.password === undefined)
    dropChanges(studio, [change]);
  keepDraft(studio);
}
