// Keeps staged changes, except passwords, across a reload of the page.

import { isMasked } from "./cells.js";

const draftName = (studio) => `pharmdb-studio-draft:${studio.info.title}`;

const MOST_UNDONE = 50;

const contentOfChanges = ({ changes }) =>
  JSON.stringify(changes.map(({ id, kind, values, password }) => [id, kind, values, password]));

// A copy, because staged changes are edited in place.
const keptOf = (studio) => ({
  content: contentOfChanges(studio),
  changes: studio.changes.map((c) => ({ ...c, values: { ...c.values } })),
});

// Keeps the staged changes after each of them, and what was staged before, so that it can be undone.
export function keepDraft(studio) {
  if (!studio.info) return; // nothing can be staged before the first answer
  const { content, changes } = studio.kept;
  if (contentOfChanges(studio) !== content) {
    studio.undone.push(changes);
    studio.undone.splice(0, studio.undone.length - MOST_UNDONE);
    studio.redone = [];
  }
  writeDraft(studio);
}

// Nothing that was saved or discarded comes back by undoing.
export function forgetUndone(studio) {
  Object.assign(studio, { undone: [], redone: [] });
}

export function writeDraft(studio) {
  const key = draftName(studio);
  const changes = studio.changes.map(({ password, problems, ...change }) => change);
  studio.kept = keptOf(studio);
  // A duplicated or reloaded page has the same set of changes, which is saved only once.
  if (studio.changes.length)
    studio.staged ??= crypto.randomUUID?.() ?? `${studio.view}-${Math.random().toString(36).slice(2)}`;
  try {
    if (changes.length) sessionStorage.setItem(key, JSON.stringify({ changes, staged: studio.staged }));
    else sessionStorage.removeItem(key);
    studio.unkept = false;
  } catch {
    // Too large for the browser: an older draft must not come back in its place.
    sessionStorage.removeItem(key);
    studio.unkept = true;
  }
}

export function restoreDraft(studio) {
  try {
    const draft = JSON.parse(sessionStorage.getItem(draftName(studio)) ?? "[]");
    studio.staged = draft.staged ?? null;
    studio.changes = (draft.changes ?? draft)
      .filter((c) => studio.tables.some((t) => t.name === c.table))
      .map(revived)
      .filter((c) => c.kind !== "update" || Object.keys(c.values).length);
    studio.kept = keptOf(studio);
    studio.nextChange = Math.max(0, ...studio.changes.map((c) => c.id)) + 1;
  } catch {
    studio.changes = [];
  }
}

function revived(change) {
  // Masked cells can't be compared any more: only the old kernel could compute their digests.
  const before = Object.entries(change.before).filter(([, cell]) => !isMasked(cell));
  return { ...change, problems: [], before: Object.fromEntries(before) };
}
