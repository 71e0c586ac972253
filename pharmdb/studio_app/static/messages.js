// The message line, which reports what was done, or why it was not.

export function say(studio, text, isError = false) {
  studio.ui.message.textContent = text;
  studio.ui.message.classList.toggle("ph-error", isError);
}

export function fail(studio, error) {
  say(studio, sentenceOf(error), true);
  if (!error.sentence) console.error(error);
}

export function sentenceOf(error) {
  const parts = [
    error.sentence ?? String(error),
    error.expected && `expected: ${error.expected}`,
    error.next && `next: ${error.next}`,
  ];
  return parts.filter(Boolean).join(" · ");
}
