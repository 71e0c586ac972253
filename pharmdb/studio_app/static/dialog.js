// A dialog with one button for each action and one that closes it.

import { button, h } from "./dom.js";
import { focusCell } from "./selection.js";

// `actions` are pairs of a label and a function; the dialog stays open if the function returns false.
export function ask(studio, title, content, actions) {
  const close = () => {
    dialog.close();
    dialog.remove();
    focusCell(studio);
  };
  const dialog = h(
    "dialog",
    { class: "ph-dialog", "aria-label": title, tabindex: "-1" },
    h("p", { class: "ph-title" }, title),
    ...content,
    h(
      "div",
      { class: "ph-bar" },
      ...actions.map(([label, action], n) =>
        button(
          label,
          () => {
            if (action() !== false) close();
          },
          { class: n ? undefined : "ph-primary" },
        ),
      ),
      button(actions.length ? "Cancel" : "Close", close),
    ),
  );
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  studio.ui.root.append(dialog);
  dialog.showModal();
  dialog.querySelector("input, pre, button")?.focus();
  return dialog;
}
