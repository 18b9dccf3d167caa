/** The key: typed by the person, kept in this tab, sent to this gateway alone. */

import { byId } from "./elements.js";

const NAME = "asr-gateway-key";
/** @type {(() => void)[]} */
const listeners = [];

/** @returns {string} "" where there is none */
export function key() {
  return sessionStorage.getItem(NAME) ?? "";
}

/** @param {() => void} listener told when the key is another */
export function onKey(listener) {
  listeners.push(listener);
}

/** Let the person type a key. */
export function askForKey() {
  const dialog = byId("key-dialog");
  byId("key-input").value = key();
  byId("key-forget").hidden = !key();
  dialog.showModal();
  byId("key-input").select();
}

/** Wire the button and the dialog. */
export function mountKey() {
  const dialog = byId("key-dialog");
  byId("key-button").addEventListener("click", askForKey);
  byId("key-cancel").addEventListener("click", () => dialog.close());
  byId("key-forget").addEventListener("click", () => {
    keep("");
    dialog.close();
  });
  byId("key-form").addEventListener("submit", () => keep(byId("key-input").value.trim()));
  dialog.addEventListener("close", () => {
    byId("key-input").value = "";
  });
  label();
}

function keep(given) {
  if (given) sessionStorage.setItem(NAME, given);
  else sessionStorage.removeItem(NAME);
  label();
  for (const each of listeners) each();
}

function label() {
  byId("key-label").textContent = key() ? "Key is set" : "Enter key";
  byId("key-button").classList.toggle("is-set", Boolean(key()));
}
