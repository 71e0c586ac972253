// Saves all staged changes in one transaction, and the same set only once.

import { forgetUndone, keepDraft } from "./drafts.js";
import { request } from "./kernel.js";
import { fail, say } from "./messages.js";
import { load } from "./pages.js";
import { goTo } from "./selection.js";
import { emit, redraw } from "./state.js";
import { plural } from "./text.js";

const DIFFERS = "this change was already saved with other values: check the row, then undo or save this change";

// The parts of a change that tell whether it was edited again during the save.
const contentOf = ({ kind, values, password }) => JSON.stringify([kind, values, password]);

export async function save(studio) {
  if (!studio.changes.length) {
    say(studio, "nothing is staged");
    return;
  }
  // An overdue save can be requested again: the kernel saves the same set only once.
  if (studio.saving && !studio.overdue) return;
  studio.saving = true;
  const changes = studio.changes.map(({ problems, ...change }) => change);
  const sent = new Map(changes.map((change) => [change.id, contentOf(change)]));
  const name = studio.staged;
  let outcome;
  try {
    outcome = await request(studio, "save", { changes, staged: name });
  } catch (error) {
    fail(studio, error);
    studio.saving = false;
    studio.overdue = false;
    return;
  }
  if (studio.staged !== name) return; // answered before
  studio.saving = false;
  studio.overdue = false;
  if (outcome.problems.length) showProblems(studio, outcome.problems);
  else await showSaved(studio, outcome, sent);
}

function showProblems(studio, problems) {
  for (const change of studio.changes) change.problems = problems.filter((p) => p.change === change.id);
  redraw(studio);
  goToProblem(studio);
  say(studio, `Nothing was saved: ${problems.map((p) => p.sentence).join("; ")}`, true);
}

// The first cell, or else row, of the page that broke a rule.
function goToProblem(studio) {
  const isWrong = (line, column) => line.change?.problems.some((p) => p.column === column);
  for (const [r, line] of studio.shownLines.entries()) {
    const c = studio.columns.findIndex((column) => isWrong(line, column.name));
    if (c < 0 && !line.change?.problems.length) continue;
    goTo(studio, r, Math.max(0, c));
    return;
  }
}

async function showSaved(studio, outcome, sent) {
  studio.changes = studio.changes.flatMap((change) => remaining(change, outcome, sent));
  studio.staged = null;
  keepDraft(studio);
  forgetUndone(studio);
  if (studio.page?.first && studio.page.has_previous)
    Object.assign(studio.query, { place: studio.page.first, direction: "from" });
  await load(studio, true);
  emit(studio, "written");
  const saved = `${plural(outcome.saved.length, "change")} ${outcome.again ? "already saved" : "saved"}`;
  const left = studio.changes.length && `${plural(studio.changes.length, "other change")} still staged`;
  say(studio, [saved, outcome.warning, left].filter(Boolean).join(" · "), Boolean(outcome.warning));
}

// Changes that were staged or edited during the save are kept.
function remaining(change, outcome, sent) {
  if (outcome.differing.includes(change.id)) {
    return [{ ...change, problems: [{ change: change.id, column: "", kind: "conflict", sentence: DIFFERS }] }];
  }
  if (!outcome.saved.includes(change.id)) return [change];
  if (change.kind === "delete" || contentOf(change) === sent.get(change.id)) return [];
  return [change.kind === "insert" ? { ...change, kind: "update", key: outcome.keys[change.id], before: {} } : change];
}
