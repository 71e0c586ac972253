// The control for a reference: a text field with the rows that it can refer to, found by their label or key.

import { h } from "./dom.js";
import { request, tell } from "./kernel.js";
import { sentenceOf } from "./messages.js";

const PAUSE = 150; // ms without a key before the kernel is asked

// The label of the row that a reference with this value refers to, if it is known.
export const labelOf = (studio, column, value) => studio.labels[`${studio.table.name}.${column.name}`]?.[value];

// Adds labels by column and value.
export function learnLabels(studio, labels) {
  for (const [name, found] of Object.entries(labels)) {
    const path = `${studio.table.name}.${name}`;
    studio.labels[path] = { ...studio.labels[path], ...found };
  }
}

export function pickerFor(studio, column, id, text) {
  const list = h("ul", {
    role: "listbox",
    id: `${id}-rows`,
    "aria-label": `Rows of ${column.references[0]}`,
    class: "ph-choices",
  });
  const control = h("input", {
    type: "text",
    id,
    value: text,
    spellcheck: "false",
    autocomplete: "off",
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
  });
  const picker = { studio, column, control, list, chosen: -1, asked: null, timer: null };
  control.addEventListener("input", () => {
    clearTimeout(picker.timer);
    picker.timer = setTimeout(() => askChoices(picker, control.value), PAUSE);
  });
  control.addEventListener("keydown", (event) => pickerKey(picker, event));
  askChoices(picker, "");
  return { control, long: false, read: () => control.value.trim(), extra: list };
}

async function askChoices(picker, text) {
  const { studio, column } = picker;
  if (picker.asked) tell(studio, "cancel", { request: picker.asked });
  const asking = request(studio, "choices", { table: studio.table.name, column: column.name, text: text.trim() });
  picker.asked = asking.id;
  try {
    const { choices } = await asking;
    if (picker.asked === asking.id) drawChoices(picker, choices);
    picker.shownFor = text;
  } catch (error) {
    if (picker.asked === asking.id) picker.list.replaceChildren(h("li", { class: "ph-quiet" }, sentenceOf(error)));
  }
}

function drawChoices(picker, choices) {
  const { studio, column, list, control } = picker;
  picker.chosen = -1;
  control.removeAttribute("aria-activedescendant");
  learnLabels(studio, { [column.name]: Object.fromEntries(choices.map((c) => [c.value, c.label])) });
  list.replaceChildren(
    ...choices.map((c, n) =>
      h(
        "li",
        {
          role: "option",
          id: `${list.id}-${n}`,
          "aria-selected": "false",
          "data-value": c.value,
          onmousedown: (event) => {
            event.preventDefault();
            chooseRow(picker, n);
          },
        },
        c.value,
        " ",
        h("span", { class: "ph-quiet" }, c.label),
      ),
    ),
  );
  list.hidden = !choices.length;
  control.setAttribute("aria-expanded", String(choices.length > 0));
}

function chooseRow(picker, n) {
  const options = [...picker.list.children];
  picker.chosen = n;
  options.forEach((option, each) => {
    option.setAttribute("aria-selected", String(each === n));
  });
  options[n].scrollIntoView({ block: "nearest" });
  picker.control.setAttribute("aria-activedescendant", options[n].id);
  picker.control.value = options[n].dataset.value;
}

function pickerKey(picker, event) {
  // A label that was typed becomes the value of the first row that has it; a second Enter confirms it.
  const options = [...picker.list.querySelectorAll("[role=option]")];
  const { value } = picker.control;
  const isLabel = value && picker.shownFor === value && !options.some((o) => o.dataset.value === value);
  if (event.key === "Enter" && isLabel && options.length && picker.chosen < 0) {
    event.preventDefault();
    event.stopPropagation();
    chooseRow(picker, 0);
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !options.length) return;
  event.preventDefault();
  chooseRow(picker, (picker.chosen + step + options.length) % options.length);
}
