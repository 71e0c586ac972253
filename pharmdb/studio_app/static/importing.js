// New rows from pasted text or a CSV file. They are staged, with a report of what was left out and what does not fit.

import { addInsert } from "./changes.js";
import { ask } from "./dialog.js";
import { button, h } from "./dom.js";
import { keepDraft } from "./drafts.js";
import { request } from "./kernel.js";
import { sentenceOf } from "./messages.js";
import { canEdit, idOf, redraw } from "./state.js";
import { plural } from "./text.js";

const MOST_LISTED = 10;
const LARGEST = 8e6; // characters, so that the message to the kernel is not too large

export const buildImport = (studio) => button("Import…", () => askImport(studio));

function askImport(studio) {
  const id = idOf(studio, "import");
  const area = h("textarea", { id, rows: "8", cols: "70", spellcheck: "false" });
  const wrong = h("p", { role: "alert", class: "ph-sentence" });
  const file = h("input", { type: "file", id: `${id}-file`, accept: ".csv,.tsv,.txt,text/csv,text/plain" });
  file.addEventListener("change", async () => {
    if (file.files[0]) area.value = await file.files[0].text();
  });
  const dialog = ask(
    studio,
    `Import rows into ${studio.table.name}`,
    [
      h(
        "p",
        {},
        "CSV, or cells copied from a spreadsheet. If the first line has the columns' names, their order does not matter; ",
        `otherwise they are ${studio.columns.map((c) => c.name).join(", ")}. Empty fields get the default.`,
      ),
      h("label", { for: `${id}-file` }, "File "),
      file,
      h("p", {}, h("label", { for: id }, "or text")),
      area,
      wrong,
    ],
    [
      [
        "Stage the rows",
        () => {
          importRows(studio, area.value, dialog, wrong);
          return false;
        },
      ],
    ],
  );
}

async function importRows(studio, text, dialog, wrong) {
  const { table } = studio;
  if (text.length > LARGEST) {
    wrong.textContent = `this text is too long: ${text.length.toLocaleString("en")} characters of at most ${LARGEST.toLocaleString("en")}`;
    return;
  }
  let found;
  try {
    const columns = studio.columns.map((c) => c.name);
    found = await request(studio, "import", { table: table.name, text, columns });
  } catch (error) {
    wrong.textContent = sentenceOf(error);
    return;
  }
  if (studio.table !== table || !canEdit(studio)) return;
  dialog.close();
  dialog.remove();
  const changes = found.rows.map((values) => addInsert(studio, values));
  for (const { row, column, sentence } of found.faults)
    changes[row].problems.push({ change: changes[row].id, column, kind: "unfit", sentence });
  keepDraft(studio);
  redraw(studio);
  report(studio, found);
}

function report(studio, { rows, columns, faults, left_out, header }) {
  const listed = faults
    .slice(0, MOST_LISTED)
    .map(({ row, sentence }) => h("li", {}, `line ${row + (header ? 2 : 1)}: ${sentence}`));
  if (faults.length > MOST_LISTED)
    listed.push(h("li", {}, `and ${plural(faults.length - MOST_LISTED, "other fault")}`));
  ask(
    studio,
    `${plural(rows.length, "row")} staged`,
    [
      h("p", {}, `Columns: ${columns.join(", ") || "none"}.`),
      left_out.length ? h("div", {}, "Not imported:", h("ul", {}, ...left_out.map((text) => h("li", {}, text)))) : "",
      faults.length
        ? h(
            "div",
            {},
            `${plural(faults.length, "value")} to correct before the save:`,
            h("ul", { class: "ph-sentence" }, ...listed),
          )
        : h("p", {}, "Every value fits its column. Nothing is saved yet."),
    ],
    [],
  );
}
