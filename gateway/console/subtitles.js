/** Subtitles of cues, as SubRip and WebVTT have them. Nothing here touches the page. */

/** @typedef {import("./cues.js").Cue} Cue */

const LEAST_MS = 10; // a cue that begins and ends at one moment is shown by no player

/** @param {Cue[]} cues @returns {string} */
export function asSrt(cues) {
  return placed(cues)
    .map(({ from, to, speaker, text }, at) => {
      const line = speaker ? `${speaker}: ${text}` : text;
      return `${at + 1}\n${moment(from, ",")} --> ${moment(to, ",")}\n${line.replaceAll("-->", "->")}\n\n`;
    })
    .join("");
}

/** @param {Cue[]} cues @returns {string} */
export function asVtt(cues) {
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `WEBVTT\n\n${placed(cues)
    .map(({ from, to, speaker, text }) => {
      const voice = speaker ? `<v ${escaped(speaker)}>` : "";
      return `${moment(from, ".")} --> ${moment(to, ".")}\n${voice}${escaped(text)}\n\n`;
    })
    .join("")}`;
}

/** Cues in order, none of no length; an empty line would end one. Times in milliseconds. */
function placed(cues) {
  let previous = 0;
  return [...cues]
    .sort((one, other) => one.start - other.start)
    .map((cue) => {
      const from = Math.max(previous, Math.round(cue.start * 1000));
      previous = from;
      const oneLine = (text) => text.replace(/\s+/gu, " ").trim();
      const to = Math.max(from + LEAST_MS, Math.round(cue.end * 1000));
      return { from, to, speaker: oneLine(cue.speaker ?? ""), text: oneLine(cue.text) };
    });
}

function moment(ms, point) {
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, seconds] = [
    Math.floor(ms / 3_600_000),
    Math.floor(ms / 60_000) % 60,
    Math.floor(ms / 1000) % 60,
  ];
  return `${two(hours)}:${two(minutes)}:${two(seconds)}${point}${String(ms % 1000).padStart(3, "0")}`;
}
