// Exports the view as a file, which the kernel sends in pieces.

import { button, h } from "./dom.js";
import { request, tell } from "./kernel.js";
import { fail, say } from "./messages.js";
import { wanted } from "./pages.js";
import { idOf, on } from "./state.js";

const FILES = {
  csv: ["csv", "text/csv"],
  json: ["json", "application/json"],
  markdown: ["md", "text/markdown"],
  parquet: ["parquet", "application/vnd.apache.parquet"],
};
const KEPT = 60000; // ms for which the browser can still begin the download

// The elements for a toolbar.
export function buildExport(studio) {
  const id = idOf(studio, "format");
  const formats = h("select", { id });
  const safe = h("input", { type: "checkbox", checked: true });
  const title = "A cell that begins with =, +, -, @ or a tab gets an apostrophe, unless it is a number";
  const option = h("label", { title }, safe, " formulas as text");
  const run = {
    id: null,
    button: button("Export", () => toggleExport(studio, run, { format: formats.value, formulas: !safe.checked })),
  };
  const offer = () => (option.hidden = formats.value !== "csv");
  formats.addEventListener("change", offer);
  on(studio, "info", () => {
    formats.replaceChildren(...studio.info.formats.map((f) => h("option", { value: f }, f)));
    offer();
  });
  return [h("span", { class: "ph-together" }, h("label", { for: id }, "as"), formats, option, run.button)];
}

// The elements to export the result of a statement, which is run again without the limit of what is shown.
export function buildResultExport(studio, message) {
  const formats = h("select", { "aria-label": "Export the result as" });
  formats.append(...studio.info.formats.filter((f) => f !== "parquet").map((f) => h("option", { value: f }, f)));
  const run = {
    id: null,
    button: button("Export the result", () => exportAs(studio, run, "result", { ...message, format: formats.value })),
  };
  return [formats, run.button];
}

function toggleExport(studio, run, options) {
  const view = { ...wanted(studio), columns: studio.columns.map((c) => c.name) };
  return exportAs(studio, run, studio.table.name, { ...view, ...options });
}

async function exportAs(studio, run, name, message) {
  if (run.id) {
    tell(studio, "cancel", { request: run.id });
    return;
  }
  const label = run.button.textContent;
  const parts = [];
  let bytes = 0;
  const exporting = request(studio, "export", message, (piece, id) => {
    parts.push(piece);
    bytes += piece.byteLength;
    say(studio, `exporting ${name}: ${(bytes / 1e6).toFixed(1)} MB`);
    tell(studio, "taken", { request: id });
  });
  run.id = exporting.id;
  run.button.textContent = "Stop the export";
  try {
    await exporting;
    const [extension, type] = FILES[message.format];
    download(`${name}.${extension}`, new Blob(parts, { type }));
    say(studio, `${name}.${extension}: ${bytes.toLocaleString("en")} bytes`);
  } catch (error) {
    fail(studio, error);
  }
  run.id = null;
  run.button.textContent = label;
}

function download(name, blob) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT);
}
