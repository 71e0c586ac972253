// The views in the browser's history, and the title of its tab. In JupyterLab both belong to JupyterLab.

const isOwnPage = () => document.querySelector("[data-studio-page]") !== null;

// The next view that is recorded gets an entry of its own, because somebody went there.
export function leaveView(studio) {
  studio.leaving = true;
}

// An entry that the browser has opened already: by Back, Forward, a reload or an address that was typed.
export function arriveAtView(studio) {
  studio.leaving = false;
  studio.trail = history.state?.trail ?? [];
}

export function recordView(studio, hash) {
  const state = { ...history.state, trail: studio.trail };
  const isNew = studio.leaving && location.hash !== hash && isOwnPage();
  studio.leaving = false;
  studio.hash = hash;
  if (isNew) history.pushState(state, "", hash);
  else history.replaceState(state, "", hash);
  if (isOwnPage()) document.title = `${studio.table.name} – ${studio.info.name} – pharmdb studio`;
}
