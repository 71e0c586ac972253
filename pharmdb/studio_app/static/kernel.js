// Requests to the kernel and their answers.

import { emit } from "./state.js";

// Returns a promise of the answer; its `id` cancels the request. `onPiece` receives pieces that come before the answer.
export function request(studio, op, data = {}, onPiece = null) {
  studio.number += 1;
  const id = `${studio.view}:${studio.number}`;
  const promise = new Promise((resolve, reject) => {
    studio.pending.set(id, { op, resolve, reject, onPiece });
  });
  promise.id = id;
  showBusy(studio);
  send(studio, { ...data, op, id });
  return promise;
}

// A message that has no answer.
export function tell(studio, op, data = {}) {
  send(studio, { ...data, op, id: `${studio.view}:${op}` });
}

function send(studio, message) {
  // Throws without a connection; the heartbeat then reports that the kernel does not answer.
  try {
    studio.model.send(message);
  } catch (error) {
    console.warn(error);
  }
}

export function receive(studio, message, buffers) {
  if (!String(message.id).startsWith(`${studio.view}:`)) return;
  emit(studio, "heard");
  const waiting = studio.pending.get(message.id);
  if (!waiting) return;
  if (message.more) {
    waiting.onPiece(buffers[0], message.id);
    return;
  }
  studio.pending.delete(message.id);
  showBusy(studio);
  if (message.error) waiting.reject(message.error);
  else waiting.resolve({ ...message.result, buffers });
}

// A save whose answer is overdue does not keep the page busy.
export function showBusy(studio) {
  studio.ui.root.dataset.busy = studio.pending.size && !(studio.silent && studio.saving) ? "1" : "0";
}
