// What concerns the whole database: it can't be read, or its schema is not the newest.

import { button, h } from "./dom.js";
import { sentenceOf } from "./messages.js";
import { on } from "./state.js";

export function buildNotice(studio) {
  studio.ui.notice = h("div", { role: "alert", class: "ph-alert" });
  on(studio, "info", () => {
    const { behind } = studio.info;
    showNotice(studio, behind && `The schema is not the newest: ${sentenceOf(behind)}`);
  });
  return studio.ui.notice;
}

// With `again`, a button tries what has failed once more.
export function showNotice(studio, text, again = null) {
  const parts = [text && h("p", {}, text), again && button("Try again", again)];
  studio.ui.notice.replaceChildren(...parts.filter(Boolean));
}
