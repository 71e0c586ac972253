// The lock of production databases and of SQL that writes; it is opened with the database's name.

import { ask } from "./dialog.js";
import { button, h } from "./dom.js";
import { request } from "./kernel.js";
import { fail, say } from "./messages.js";
import { load } from "./pages.js";
import { idOf, on } from "./state.js";

// The elements for a toolbar.
export function buildLock(studio) {
  const lock = { badge: h("span", { class: "ph-badge" }), button: button("Unlock…", () => askLock(studio, lock)) };
  on(studio, "info", () => drawLock(studio, lock));
  return [lock.badge, lock.button];
}

function drawLock(studio, lock) {
  const { environment, unlocked } = studio.info;
  const production = environment === "production";
  lock.badge.textContent = `${environment}${production && !unlocked ? ", read-only" : ""}`;
  lock.badge.classList.toggle("ph-production", production);
  lock.button.textContent = unlocked ? "Lock" : "Unlock…";
  studio.ui.root.dataset.unlocked = String(unlocked);
}

function askLock(studio, lock) {
  const { environment, unlocked, name } = studio.info;
  if (unlocked) {
    setLock(studio, lock, "");
    return;
  }
  const id = idOf(studio, "unlock");
  const what =
    environment === "production" ? "edit rows of a production database, and to write with SQL" : "write with SQL";
  const input = h("input", { type: "text", id, autocomplete: "off" });
  const unlock = () => {
    if (input.value) setLock(studio, lock, input.value);
    else say(studio, `type the database's name: ${name}`, true);
  };
  const dialog = ask(
    studio,
    "Unlock",
    [h("p", {}, `To ${what}, type the database's name: ${name}`), h("label", { for: id }, "Name"), input],
    [["Unlock", unlock]],
  );
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") dialog.querySelector("button").click();
  });
}

async function setLock(studio, lock, name) {
  try {
    studio.info.unlocked = (await request(studio, "lock", { name })).unlocked;
  } catch (error) {
    fail(studio, error);
    return;
  }
  drawLock(studio, lock);
  // What production hides is shown again, or hidden.
  studio.labels = {};
  await load(studio);
  say(studio, studio.info.unlocked ? "unlocked: writing is allowed" : "locked");
}
