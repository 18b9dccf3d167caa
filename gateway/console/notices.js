/** What went wrong, told where it was asked for. */

import { Refusal } from "./api.js";
import { element } from "./elements.js";
import { askForKey, key } from "./key.js";

/**
 * @param {unknown} error anything but a Refusal is a mistake of the page's own, and is thrown on
 * @param {string} [whose] which key is wanted, where one would help
 * @returns {HTMLElement}
 */
export function noticeOf(error, whose = "a key") {
  if (!(error instanceof Refusal)) throw error;
  const facts = [error.status && `status ${error.status}`, error.type, error.requestId && `request ${error.requestId}`];
  return element(
    "div",
    { class: `notice ${error.wantsKey ? "warn" : "bad"}` },
    element("p", {}, element("b", {}, title(error, whose))),
    element("p", {}, error.message),
    element("p", { class: "small facts-line" }, facts.filter(Boolean).join(" · ")),
    error.wantsKey
      ? element(
          "p",
          {},
          element(
            "button",
            { type: "button", class: "plain small-button", onclick: askForKey },
            key() ? "Enter another key" : "Enter a key",
          ),
        )
      : null,
  );
}

function title(error, whose) {
  if (!error.wantsKey) return "There is no answer.";
  if (error.type === "origin-not-allowed") return "This address is not allowed.";
  return key() ? `The gateway wants ${whose}, and this one does not do.` : `The gateway wants ${whose}.`;
}
