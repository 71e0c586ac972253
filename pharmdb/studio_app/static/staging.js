// The panel of staged changes: each change, its problems, and the buttons to resolve them.

import { keyText, textOf } from "./cells.js";
import { dropChanges, prune } from "./changes.js";
import { ask } from "./dialog.js";
import { button, h } from "./dom.js";
import { keepDraft } from "./drafts.js";
import { say } from "./messages.js";
import { rowName } from "./names.js";
import { load } from "./pages.js";
import { tableNamed } from "./paths.js";
import { save } from "./saving.js";
import { focusCell } from "./selection.js";
import { on, redraw } from "./state.js";
import { plural, visible } from "./text.js";

const MOST_SHOWN = 50;

export function buildStaging(studio) {
  studio.ui.staging = h("section", { class: "ph-staging", "aria-label": "Staged changes", hidden: true });
  on(studio, "draw", drawStaging);
  return studio.ui.staging;
}

function drawStaging(studio) {
  const { changes } = studio;
  const { staging, root } = studio.ui;
  const at = buttonsOf(staging).indexOf(document.activeElement);
  staging.hidden = !changes.length;
  root.dataset.staged = String(changes.length);
  if (!changes.length) {
    staging.replaceChildren();
    if (at >= 0) focusCell(studio, false);
    return;
  }
  staging.replaceChildren(
    ...[
      h(
        "div",
        { class: "ph-bar" },
        h("span", { class: "ph-title" }, plural(changes.length, "staged change")),
        studio.unkept ? h("span", { class: "ph-sentence" }, "too many to outlive a reload of the page") : "",
        button("Save all", () => save(studio), { class: "ph-primary" }),
        button("Discard all", () => discard(studio)),
      ),
      h("ul", {}, ...shownChanges(changes).map((change) => drawChange(studio, change))),
      changes.length > MOST_SHOWN &&
        h("p", { class: "ph-quiet" }, `and ${plural(changes.length - MOST_SHOWN, "other change")}`),
    ].filter(Boolean),
  );
  // The pressed button is gone: the focus goes to the one in its place.
  if (at >= 0)
    buttonsOf(staging)
      .slice(0, at + 1)
      .at(-1)
      .focus();
}

const buttonsOf = (staging) => [...staging.querySelectorAll("button")];

// Changes with problems come first.
function shownChanges(changes) {
  const wrong = changes.filter((c) => c.problems.length);
  return [...wrong, ...changes.filter((c) => !c.problems.length)].slice(0, MOST_SHOWN);
}

function drawChange(studio, change) {
  const undo = () => {
    dropChanges(studio, [change]);
    keepDraft(studio);
    redraw(studio);
  };
  return h(
    "li",
    {},
    describe(studio, change),
    button("Undo", undo, { "aria-label": `Undo: ${describe(studio, change)}` }),
    ...change.problems.map((problem) => drawProblem(studio, change, problem)),
  );
}

function describe(studio, change) {
  const table = tableNamed(studio, change.table);
  const known = change.kind === "insert" ? "" : rowName(studio, table, change.before);
  const name = `${change.table} ${change.kind === "insert" ? "(new)" : keyText(change.key)}${known ? ` (${known})` : ""}`;
  if (change.kind === "delete") {
    const taken = Object.entries(change.cascade)
      .map(([table, n]) => `${n} of ${table}`)
      .join(", ");
    return `delete ${name}${taken ? `, and with it ${taken}` : ""}`;
  }
  const parts = Object.entries(change.values).map(([column, text]) => {
    const before = change.kind === "insert" ? "" : `${short(textOf(change.before[column] ?? null))} → `;
    return `${column} ${before}${short(text)}`;
  });
  if (change.password !== undefined) parts.push("a new password");
  return `${change.kind === "insert" ? "add" : "change"} ${name}: ${parts.join(", ") || "defaults"}`;
}

const quotedOrNull = (text) => (text === null ? "NULL" : `“${visible(text)}”`);

function short(text) {
  if (text === undefined) return "?";
  return quotedOrNull(text?.length > 40 ? `${text.slice(0, 40)}…` : text);
}

function drawProblem(studio, change, problem) {
  const box = h("p", { class: "ph-sentence" }, problem.sentence);
  if (problem.kind !== "conflict" || !problem.column) return box;
  const mine = change.values[problem.column];
  box.append(
    `: it is now ${quotedOrNull(textOf(problem.theirs))}, it was ${textOf(change.before[problem.column]) ?? "NULL"}`,
    mine === undefined ? "" : `, yours is ${quotedOrNull(mine)}`,
    " ",
  );
  const settle = (keep) => {
    change.before[problem.column] = problem.theirs;
    if (!keep) delete change.values[problem.column];
    change.problems = change.problems.filter((p) => p !== problem);
    prune(studio, change);
    redraw(studio);
    // The row as it is now; the message of the refused save is over.
    load(studio);
  };
  box.append(button(mine === undefined ? "Got it" : "Keep mine", () => settle(true)));
  if (mine !== undefined) box.append(button("Take theirs", () => settle(false)));
  return box;
}

function discard(studio) {
  ask(
    studio,
    `Discard ${plural(studio.changes.length, "staged change")}?`,
    [],
    [
      [
        "Discard",
        () => {
          studio.changes = [];
          studio.staged = null;
          keepDraft(studio);
          redraw(studio);
          say(studio, "discarded");
        },
      ],
    ],
  );
}
