// Undo and redo of staging, and the keys that work anywhere in the studio.

import { writeDraft } from "./drafts.js";
import { say } from "./messages.js";
import { save } from "./saving.js";
import { redraw } from "./state.js";
import { plural } from "./text.js";

const TYPING = "input:not([type=checkbox], [type=radio], [type=file]), textarea";

export function listenAnywhere(studio) {
  studio.ui.root.addEventListener("keydown", (event) => anyKey(studio, event), true);
}

function anyKey(studio, event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.isComposing) return;
  const key = event.key.toLowerCase();
  if (key === "s") {
    event.preventDefault();
    event.stopPropagation();
    saveFromAnywhere(studio);
  }
  // In a text field these keys undo and redo typing. Elsewhere the browser would undo what was typed last, in the search
  // field for example.
  if (event.target.matches(TYPING) || studio.ui.root.querySelector("dialog[open]")) return;
  const isRedo = key === "y" || (key === "z" && event.shiftKey);
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  event.stopPropagation();
  undo(studio, isRedo);
}

// What is open in an editor is taken first; another dialog has to be answered.
function saveFromAnywhere(studio) {
  const dialog = studio.ui.root.querySelector("dialog[open]");
  if (dialog?.classList.contains("ph-editor")) dialog.querySelector(".ph-bar button").click();
  if (!studio.ui.root.querySelector("dialog[open]")) save(studio);
}

function undo(studio, isRedo) {
  const [from, to] = isRedo ? [studio.redone, studio.undone] : [studio.undone, studio.redone];
  const before = from.pop();
  if (!before) {
    say(studio, `nothing to ${isRedo ? "redo" : "undo"}`);
    return;
  }
  to.push(studio.changes);
  studio.changes = before;
  writeDraft(studio);
  redraw(studio);
  say(studio, `${isRedo ? "redone" : "undone"}: ${plural(studio.changes.length, "change")} staged`);
}
