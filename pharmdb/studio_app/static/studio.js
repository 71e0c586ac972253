// The studio's page: an accessible grid and its panels. It contains no SQL: it sends requests to the kernel, and shows
// the answers as text nodes only. Edits are staged here until they are saved, and survive a reload of the page.

import { listenToClipboard } from "./clipboard.js";
import { useColumns } from "./columns.js";
import { buildConsole } from "./console.js";
import { h } from "./dom.js";
import { restoreDraft } from "./drafts.js";
import { buildHead } from "./head.js";
import { startHeartbeat } from "./heartbeat.js";
import { receive, request } from "./kernel.js";
import { listenToKeys } from "./keyboard.js";
import { useLayouts } from "./layout.js";
import { sentenceOf } from "./messages.js";
import { listenToMouse } from "./mouse.js";
import { buildNotice, showNotice } from "./notice.js";
import { goToAddress } from "./pages.js";
import { watchRoom } from "./room.js";
import { buildRows } from "./rowspanel.js";
import { redrawPicture } from "./schema.js";
import { buildStaging } from "./staging.js";
import { createStudio, emit, on } from "./state.js";
import { buildTables } from "./tables.js";
import { buildTabs, showTab } from "./tabs.js";
import { listenAnywhere } from "./undoing.js";

// anywidget calls this for each view; what it returns ends the view.
function render({ model, el }) {
  const studio = createStudio(model);
  build(studio, el);
  const stops = [listenToKernel(studio), startHeartbeat(studio), listenToWindow(studio), watchRoom(studio)];
  begin(studio);
  return () => {
    for (const stop of stops) stop();
  };
}

function build(studio, el) {
  const { ui } = studio;
  ui.root = h("section", { class: "ph-studio", "aria-label": "Studio", "data-busy": "0", "data-kernel": "alive" });
  ui.alertBox = h("div", { role: "alert", class: "ph-alert" });
  ui.message = h("p", { role: "status", class: "ph-message" });
  const [toggle, tables] = buildTables(studio);
  const head = buildHead(studio, toggle);
  const tabs = buildTabs(studio);
  buildRows(studio);
  on(studio, "width", redrawPicture);
  useLayouts(studio);
  useColumns(studio);
  buildConsole(studio);
  listenToKeys(studio);
  listenToMouse(studio);
  listenToClipboard(studio);
  listenAnywhere(studio);
  const main = h("div", { class: "ph-main" }, tabs, ...Object.values(ui.panels), ui.message);
  ui.root.append(
    ui.alertBox,
    buildNotice(studio),
    head,
    h("div", { class: "ph-body" }, tables, main),
    buildStaging(studio),
  );
  el.append(ui.root);
  showTab(studio, "rows");
}

async function begin(studio) {
  try {
    studio.info = await request(studio, "hello");
  } catch (error) {
    // A silent kernel is told by the heartbeat.
    if (!studio.silent) showNotice(studio, sentenceOf(error), () => begin(studio));
    return;
  }
  studio.tables = studio.info.tables;
  studio.ui.root.setAttribute("aria-label", `Studio: ${studio.info.title}`);
  emit(studio, "info");
  restoreDraft(studio);
  goToAddress(studio);
}

function listenToKernel(studio) {
  const listener = (message, buffers) => receive(studio, message, buffers);
  studio.model.on("msg:custom", listener);
  return () => studio.model.off("msg:custom", listener);
}

function listenToWindow(studio) {
  const onHash = () => {
    if (location.hash === studio.hash) return;
    showTab(studio, "rows");
    goToAddress(studio);
  };
  // Voilà ends the kernel at this event, even if the user then chooses to stay.
  const onLeave = (event) => {
    if (studio.changes.length) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  };
  window.addEventListener("hashchange", onHash);
  window.addEventListener("beforeunload", onLeave, true);
  return () => {
    window.removeEventListener("hashchange", onHash);
    window.removeEventListener("beforeunload", onLeave, true);
  };
}

export default { render };
