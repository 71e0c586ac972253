// The SQL panel, which runs one statement at a time.

import { buildChart } from "./charting.js";
import { closeWords, completionKey, createCompletion, suggest } from "./completion.js";
import { ask } from "./dialog.js";
import { button, h, plainTable } from "./dom.js";
import { buildResultExport } from "./exporting.js";
import { createColours } from "./highlight.js";
import { request, tell } from "./kernel.js";
import { sentenceOf } from "./messages.js";
import { load } from "./pages.js";
import { createParameters } from "./parameters.js";
import { emit, idOf, on } from "./state.js";
import { buildStatements, linkedStatement, remember } from "./statements.js";
import { plural, visible } from "./text.js";

export function buildConsole(studio) {
  const id = (name) => idOf(studio, name);
  const area = h("textarea", {
    id: id("statement"),
    rows: "6",
    spellcheck: "false",
    "aria-autocomplete": "list",
    "aria-controls": id("words"),
  });
  const completion = createCompletion(studio, area);
  const { colours, paint } = createColours(area);
  const seconds = h("input", { type: "number", id: id("seconds"), min: "1", max: "600", value: "30" });
  const run = { request: null, area, seconds, result: h("div", { class: "ph-result" }), cancelButton: null };
  run.parameters = createParameters(studio, () => runSQL(studio, run, false));
  const show = (sql) => {
    area.value = sql;
    paint();
    run.parameters.draw(sql);
    area.focus();
  };
  const statements = buildStatements(studio, () => area.value, show);
  run.remember = () => {
    remember(studio, area.value);
    statements.draw();
  };
  on(studio, "address", () => {
    const linked = linkedStatement();
    if (linked === null) return;
    show(linked);
    studio.ui.tabs.sql.click();
  });
  area.addEventListener("input", () => run.parameters.draw(area.value));
  run.cancelButton = button(
    "Cancel",
    () => {
      if (run.request) tell(studio, "cancel", { request: run.request });
    },
    { hidden: true },
  );
  area.addEventListener("keydown", (event) => sqlKey(studio, run, completion, event));
  studio.ui.panels.sql.append(
    h("label", { for: id("statement") }, "One statement"),
    h("div", { class: "ph-sql" }, colours, area, completion.list),
    run.parameters.element,
    h(
      "div",
      { class: "ph-bar" },
      button("Run", () => runSQL(studio, run, false), { class: "ph-primary" }),
      button("Plan", () => runSQL(studio, run, true)),
      run.cancelButton,
      h("label", { for: id("seconds") }, "time-out, s"),
      seconds,
      h("span", { class: "ph-quiet" }, "Ctrl+Enter runs, Ctrl+Space completes"),
    ),
    h("div", { class: "ph-bar" }, ...statements.bar),
    run.result,
  );
}

function sqlKey(studio, run, completion, event) {
  const ctrl = {
    Enter: () => {
      closeWords(completion);
      runSQL(studio, run, false);
    },
    " ": () => suggest(studio, completion, true),
  };
  const action = (event.ctrlKey && ctrl[event.key]) || completionKey(completion, event);
  if (!action) return;
  event.preventDefault();
  action();
}

// A statement that writes is tried first, and says how many rows it would change; `expected` is that number.
async function runSQL(studio, run, plan, expected = null) {
  if (run.request) return;
  const missing = run.parameters.require().map((name) => `:${name}`);
  if (missing.length) {
    const found = `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} empty, so nothing was run`;
    sayRefused(run, { sentence: found, next: "type a value, or choose NULL or empty text beside it" });
    return;
  }
  const trial = studio.info.unlocked && !plan && expected === null;
  const message = { sql: run.area.value, values: run.parameters.read(), seconds: run.seconds.value };
  const running = request(studio, "sql", { ...message, plan, trial, expected });
  run.remember();
  run.request = running.id;
  run.cancelButton.hidden = false;
  run.result.replaceChildren(h("p", { role: "status" }, "running…"));
  try {
    const result = await running;
    if (result.trial) askWrite(studio, run, result.changed ?? 0);
    else run.result.replaceChildren(...drawResult(studio, result, plan, message));
    if (result.trial) run.result.replaceChildren();
    else if (studio.info.unlocked && !plan) {
      load(studio, true);
      emit(studio, "written");
    }
  } catch (error) {
    sayRefused(run, error);
  }
  run.request = null;
  run.cancelButton.hidden = true;
}

const sayRefused = (run, error) =>
  run.result.replaceChildren(h("p", { role: "alert", class: "ph-sentence" }, sentenceOf(error)));

function askWrite(studio, run, changed) {
  const sql = run.area.value;
  const write = () => {
    // Only what was tried is run.
    run.area.value = sql;
    setTimeout(() => runSQL(studio, run, false, changed));
  };
  const number = changed.toLocaleString("en");
  ask(
    studio,
    `This statement changes ${number} ${changed === 1 ? "row" : "rows"}`,
    [h("pre", { tabindex: "0" }, sql)],
    [["Run it", write]],
  );
}

function drawResult(studio, result, plan, message) {
  const { columns, numeric } = result;
  const rows = result.rows.map((row) => h("tr", {}, ...row.map((text, n) => resultCell(text, numeric[n]))));
  return [
    h("p", { role: "status" }, `${plan ? "plan" : summaryOf(result)} · ${result.ms} ms`),
    plan ? h("pre", { class: "ph-plan", tabindex: "0" }, result.plan) : "",
    columns.length ? h("div", { class: "ph-bar" }, ...buildResultExport(studio, message)) : "",
    buildChart(result) ?? "",
    columns.length ? plainTable("Result", columns, rows, { caption: false, numeric }) : "",
  ];
}

function resultCell(text, isNumber) {
  const properties = {
    dir: "auto",
    class: [text === null && "ph-null", isNumber && "ph-number"].filter(Boolean).join(" "),
  };
  return h("td", properties, text === null ? h("span", { class: "ph-quiet" }, "NULL") : visible(text));
}

function summaryOf({ columns, rows, more, changed, warning }) {
  if (columns.length) return `${plural(rows.length, "row")}${more ? ", and there are more" : ""}`;
  return `${plural(changed ?? 0, "row")} changed${warning ? ` · ${warning}` : ""}`;
}
