// The panel with the chart of all tables.

import { h } from "./dom.js";
import { request } from "./kernel.js";
import { fail } from "./messages.js";

export async function loadPicture(studio) {
  try {
    const { text, buffers } = await request(studio, "picture");
    const url = URL.createObjectURL(new Blob([buffers[0]], { type: "image/png" }));
    studio.ui.panels.schema.replaceChildren(h("img", { src: url, alt: text, onload: () => URL.revokeObjectURL(url) }));
  } catch (error) {
    fail(studio, error);
  }
}
