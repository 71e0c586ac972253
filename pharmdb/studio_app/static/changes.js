// Staged changes: inserts, updates and deletions, in order, until they are saved.

import { isCut, textOf } from "./cells.js";
import { keepDraft } from "./drafts.js";
import { isStaged, originalCell } from "./lines.js";
import { cellsOf } from "./names.js";

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
  return addChange(studio, "delete", { key: line.key, before: cellsOf(studio, line), cascade });
}

export function dropChanges(studio, dropped) {
  studio.changes = studio.changes.filter((c) => !dropped.includes(c));
}

function changeFor(studio, line) {
  line.change ??= addChange(studio, "update", { key: line.key, before: cellsOf(studio, line) });
  return line.change;
}

// Stages a cell's new text. `whole` is the full text of a truncated cell.
export function stage(studio, line, column, text, whole = undefined) {
  stageQuietly(studio, line, column, text, whole);
  keepDraft(studio);
}

// Stages the same text in a column of many lines. Returns how many changes were staged, and how many had it already.
export function stageAll(studio, lines, column, text) {
  let staged = 0;
  for (const line of lines) {
    stageQuietly(studio, line, column, text);
    if (line.change && column.name in line.change.values) staged += 1;
  }
  keepDraft(studio);
  return { staged, same: lines.length - staged };
}

function stageQuietly(studio, line, column, text, whole) {
  if (line.change?.kind === "delete") return;
  const original = originalCell(studio, line, column);
  const unchanged =
    !line.isNew && (isCut(original) ? text === whole && !isStaged(line, column) : text === textOf(original ?? null));
  if (unchanged && !line.change) return;
  const change = changeFor(studio, line);
  if (unchanged) delete change.values[column.name];
  else change.values[column.name] = text;
  change.problems = change.problems.filter((p) => p.column !== column.name);
  if (isIdle(change)) dropChanges(studio, [change]);
}

export function stagePassword(studio, line, password) {
  const change = changeFor(studio, line);
  change.password = password;
  change.problems = change.problems.filter(
    (p) => studio.table.columns.find((c) => c.name === p.column)?.kind !== "password",
  );
  keepDraft(studio);
}

const isIdle = ({ kind, values, password }) =>
  kind === "update" && !Object.keys(values).length && password === undefined;

// An update that no longer changes anything is removed.
export function prune(studio, change) {
  if (isIdle(change)) dropChanges(studio, [change]);
  keepDraft(studio);
}
