// The fields for the parameters of a statement. NULL and an empty text are chosen; a field left empty is neither.

import { h } from "./dom.js";
import { parametersOf } from "./highlight.js";
import { idOf } from "./state.js";

const CHOICES = { value: "value", nothing: "NULL", blank: "empty text" };

// The element, and functions that draw it for a statement and read it; `submit` is called at Enter.
export function createParameters(studio, submit) {
  const element = h("div", { class: "ph-bar ph-parameters" });
  let fields = [];
  const draw = (sql) => {
    const names = parametersOf(sql);
    if (names.join() === fields.map((f) => f.name).join()) return;
    // What was typed stays.
    const before = new Map(fields.map((f) => [f.name, f]));
    fields = names.map((name) => before.get(name) ?? drawParameter(studio, name, submit));
    element.replaceChildren(...fields.map((f) => f.element));
  };
  const read = () => Object.fromEntries(fields.map((f) => [f.name, f.read()]));
  // The names of the fields that were left empty; the first of them gets the focus.
  const require = () => {
    const missing = fields.filter((f) => f.read() === undefined);
    for (const field of missing) field.input.setAttribute("aria-invalid", "true");
    missing[0]?.input.focus();
    return missing.map((f) => f.name);
  };
  return { element, draw, read, require };
}

function drawParameter(studio, name, submit) {
  const id = idOf(studio, `value-${name}`);
  const onkeydown = (event) => {
    if (event.key === "Enter") submit();
  };
  const input = h("input", { type: "text", id, onkeydown, oninput: () => input.removeAttribute("aria-invalid") });
  const onchange = () => {
    input.hidden = choice.value !== "value";
    input.removeAttribute("aria-invalid");
    if (!input.hidden) input.focus();
  };
  const choice = h(
    "select",
    { "aria-label": `:${name} is`, onchange, onkeydown },
    ...Object.entries(CHOICES).map(([value, text]) => h("option", { value }, text)),
  );
  const read = () => ({ value: input.value || undefined, nothing: null, blank: "" })[choice.value];
  const element = h("span", { class: "ph-together" }, h("label", { for: id }, `:${name}`), choice, input);
  return { name, input, element, read };
}
