// The room that the page has: wide or narrow, and how high it can be without scrolling.

import { emit, redraw } from "./state.js";

const NARROW = 760;
const NEAR_TOP = 300; // px from the top of the document: there, the studio is the page
const IN_NOTEBOOK = "86vh";

// Starts to watch; the returned function ends it.
export function watchRoom(studio) {
  const { root } = studio.ui;
  let last = 0;
  const measure = () => {
    const width = root.clientWidth;
    const kind = width < NARROW ? "narrow" : "wide";
    const top = root.getBoundingClientRect().top + window.scrollY;
    root.style.setProperty("--ph-room", top < NEAR_TOP ? `calc(100vh - ${Math.ceil(top)}px)` : IN_NOTEBOOK);
    if (root.dataset.width !== kind) {
      root.dataset.width = kind;
      emit(studio, "width");
    }
    if (width !== last && studio.page) redraw(studio);
    last = width;
  };
  measure();
  const observer = new ResizeObserver(measure);
  observer.observe(root);
  return () => observer.disconnect();
}
