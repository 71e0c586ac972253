// Detects a dead kernel, which sends no message, and keeps the staged changes.

import { h } from "./dom.js";
import { keepDraft } from "./drafts.js";
import { showBusy, tell } from "./kernel.js";
import { on } from "./state.js";
import { plural } from "./text.js";

const PING_EVERY = 3000; // ms between two pings, while somebody uses the page
const SILENCE = 8000; // ms without an answer after which the kernel is considered dead
const ATTENTIVE = 60000; // ms after the last key or click before pings stop, so that an unused kernel can be culled

// Starts the heartbeat; the returned function stops it.
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
  // A save may still be in the kernel's queue, so its answer is awaited as long as the page is open.
  for (const [id, waiting] of studio.pending) {
    if (waiting.op === "save") continue;
    studio.pending.delete(id);
    waiting.reject({ sentence: "the kernel does not answer" });
  }
  showBusy(studio);
  studio.overdue = Boolean(studio.saving);
  const unknown = studio.saving
    ? " It is not known whether the changes were saved: they stay staged, and will not be saved twice."
    : " Nothing else was saved.";
  const kept = studio.changes.length ? ` ${plural(studio.changes.length, "staged change")} kept in this page.` : "";
  studio.ui.alertBox.replaceChildren(
    h(
      "p",
      {},
      `The kernel does not answer: it is busy, or has ended.${unknown}${kept} Reload the page, or run the notebook again.`,
    ),
  );
}
