/** A transcript to take along: copied, or as a file made here. */

import { element } from "./elements.js";
import { asSrt, asVtt } from "./subtitles.js";

/** @typedef {import("./cues.js").Cue} Cue */

/**
 * @param {{text: string, cues: Cue[], answer: any, name: string}} heard answer: as it came; name: the audio's
 * @param {(word: string) => void} say
 * @returns {HTMLElement[]}
 */
export function downloads({ text, cues, answer, name }, say) {
  const stem = name.replace(/\.[^.]*$/u, "") || "transcript";
  const isTimed = cues.length > 0;
  const kinds = [
    { ending: "txt", type: "text/plain", write: () => `${text}\n`, can: true },
    { ending: "srt", type: "application/x-subrip", write: () => asSrt(cues), can: isTimed },
    { ending: "vtt", type: "text/vtt", write: () => asVtt(cues), can: isTimed },
    { ending: "json", type: "application/json", write: () => JSON.stringify(answer, null, 2), can: true },
  ];
  const copy = element(
    "button",
    { type: "button", class: "plain small-button", onclick: () => copied(text, say) },
    "Copy text",
  );
  const saves = kinds
    .filter((each) => each.can)
    .map((each) =>
      element(
        "button",
        {
          type: "button",
          class: "plain small-button",
          "aria-label": `Download as ${each.ending}`,
          onclick: () => save(each.write(), each.type, `${stem}.${each.ending}`),
        },
        each.ending.toUpperCase(),
      ),
    );
  return [copy, ...saves];
}

/** @param {string} text @param {(word: string) => void} say */
export async function copied(text, say) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("The browser does not allow copying here.");
  }
}

function save(text, type, name) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
