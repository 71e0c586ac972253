// A kernel that has died says nothing: the page notices by itself, and keeps what is staged.

import { h } from "./dom.js";
import { keepDraft } from "./drafts.js";
import { showBusy, tell } from "./kernel.js";
import { on } from "./state.js";
import { plural } from "./text.js";

const PING_EVERY = 3000; // ms between two pings, while somebody works with the page
const SILENCE = 8000; // ms without an answer after which the kernel counts as gone
const ATTENTIVE = 60000; // ms after the last key or click in which the kernel is still pinged; then it may be culled

// Begins to listen; what is returned ends it.
export function startHeartbeat(studio) {
  const { root } = studio.ui;
  const heart = { lastHeard: Date.now(), lastInput: Date.now(), lastPing: undefined };
  const touched = () => {
    heart.lastInput = Date.now();
  };
  root.addEventListener("keydown", touched, true);
  root.addEventListener("pointerdown", touched, true);
  on(studio, "heard", () => hear(studio, heart));
  const timer = setInterval(() => watch(studio, heart), 1000);
  return () => clearInterval(timer);
}

function hear(studio, heart) {
  heart.lastHeard = Date.now();
  if (!studio.silent) return;
  studio.silent = false;
  studio.ui.root.dataset.kernel = "alive";
  studio.ui.alertBox.replaceChildren();
}

function watch(studio, heart) {
  const now = Date.now();
  const attentive = now - heart.lastInput < ATTENTIVE && document.visibilityState === "visible";
  if (!studio.pending.size && !attentive) {
    heart.lastPing = undefined;
    return;
  }
  if (heart.lastPing === undefined || now - heart.lastPing >= PING_EVERY) {
    if (heart.lastPing === undefined) heart.lastHeard = now;
    heart.lastPing = now;
    tell(studio, "ping");
  }
  if (!studio.silent && now - heart.lastHeard > SILENCE) fallSilent(studio);
}

function fallSilent(studio) {
  studio.silent = true;
  studio.ui.root.dataset.kernel = "silent";
  keepDraft(studio);
  // A save may still be in the kernel's queue: its answer is awaited for as long as the page is there.
  for (const [id, waiting] of studio.pending) {
    if (waiting.op === "save") continue;
    studio.pending.delete(id);
    waiting.reject({ sentence: "the kernel does not answer" });
  }
  showBusy(studio);
  studio.overdue = Boolean(studio.saving);
  const unknown = studio.saving
    ? " It is not known whether the changes were saved: they stay staged, and are not saved twice."
    : " Nothing more was saved.";
  const kept = studio.changes.length ? ` ${plural(studio.changes.length, "staged change")} kept in this page.` : "";
  studio.ui.alertBox.replaceChildren(
    h(
      "p",
      {},
      `The kernel does not answer: it is busy, was ended, or has died.${unknown}${kept} Reload the page, or run the notebook again.`,
    ),
  );
}
