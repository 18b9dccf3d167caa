/** The transcript beside its audio: a click on a word plays it, and what is heard is marked. */

import { indexAt } from "./cues.js";
import { element } from "./elements.js";
import { clock } from "./format.js";

/** @typedef {import("./cues.js").Cue} Cue */

/** One transcript, as long as it is shown. */
export class TranscriptView {
  /**
   * @param {Cue[]} cues
   * @param {HTMLAudioElement} audio
   * @param {(word: string) => void} say tells those who do not see what is at the moment
   */
  constructor(cues, audio, say) {
    this.cues = cues;
    this.audio = audio;
    this.say = say;
    this.rows = cues.map((cue, at) => rowOf(cue, at));
    this.words = cues.flatMap((cue) => cue.words);
    this.spans = this.rows.flatMap((row) => [...row.querySelectorAll(".word")]);
    this.list = element("ol", { class: "cues" }, ...this.rows);
    this.root = element(
      "div",
      { class: "transcript", role: "region", "aria-label": "Transcript with times", tabindex: -1 },
      this.list,
    );
    this.marked = { cue: -1, word: -1 };
    this.gone = new AbortController();
    const { signal } = this.gone;
    this.list.addEventListener("click", (event) => this.clicked(event), { signal });
    this.list.addEventListener("keydown", (event) => this.pressed(event), { signal });
    for (const name of ["timeupdate", "seeked"]) audio.addEventListener(name, () => this.mark(), { signal });
    audio.addEventListener("play", () => this.follow(), { signal });
    if (this.rows.length) buttonOf(this.rows[0]).tabIndex = 0;
  }

  /** Follow the audio no more. */
  close() {
    this.gone.abort();
  }

  clicked(event) {
    if (!getSelection().isCollapsed) return; // somebody selects text
    const word = event.target.closest(".word");
    const row = event.target.closest("li");
    if (!row) return;
    const cue = this.cues[Number(row.dataset.at)];
    this.play(word ? this.words[this.spans.indexOf(word)].start : cue.start);
    this.reach(Number(row.dataset.at));
  }

  pressed(event) {
    const at = Number(event.target.closest("li")?.dataset.at);
    const row = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.rows.length - 1 }[event.key];
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (row === undefined && step === undefined) return;
    event.preventDefault();
    if (row !== undefined) {
      this.reach(Math.max(0, Math.min(this.rows.length - 1, row)));
      return;
    }
    const spans = this.words.length ? this.words : this.cues;
    const to = spans[Math.max(0, Math.min(spans.length - 1, indexAt(spans, this.audio.currentTime) + step))];
    this.audio.currentTime = to.start;
    this.say(to.text);
  }

  /** Let the keyboard be at a row. */
  reach(at) {
    for (const each of this.rows) buttonOf(each).tabIndex = -1;
    buttonOf(this.rows[at]).tabIndex = 0;
    buttonOf(this.rows[at]).focus({ preventScroll: false });
  }

  play(at) {
    this.audio.currentTime = at;
    this.audio.play().catch(() => undefined); // the browser says itself why it plays nothing
  }

  /** Mark with every frame while it plays: timeupdate comes four times a second, words more often. */
  follow() {
    if (this.gone.signal.aborted || this.audio.paused) return;
    this.mark();
    requestAnimationFrame(() => this.follow());
  }

  mark() {
    const now = this.audio.currentTime + 0.02; // where seeking lands is a hair before
    const [cue, word] = [indexAt(this.cues, now), indexAt(this.words, now)];
    if (word !== this.marked.word) {
      this.spans[this.marked.word]?.classList.remove("on");
      this.spans[word]?.classList.add("on");
    }
    if (cue !== this.marked.cue) {
      this.rows[this.marked.cue]?.removeAttribute("aria-current");
      this.rows[cue]?.setAttribute("aria-current", "true");
      if (!this.audio.paused) this.bringIntoView(this.rows[cue]);
    }
    this.marked = { cue, word };
  }

  bringIntoView(row) {
    if (!row || this.root.scrollHeight <= this.root.clientHeight) return;
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const top = row.offsetTop - this.root.clientHeight / 3;
    this.root.scrollTo({ top, behavior: isCalm ? "auto" : "smooth" });
  }
}

function rowOf(cue, at) {
  const text = cue.words.length
    ? cue.words.flatMap((word) => [word.space ? " " : "", element("span", { class: "word" }, word.text)])
    : [cue.text];
  return element(
    "li",
    { "data-at": at },
    element(
      "button",
      { type: "button", class: "time", tabindex: -1, "aria-label": `Play from ${clock(cue.start)}` },
      clock(cue.start),
    ),
    element("p", {}, cue.speaker ? element("b", { class: "speaker" }, cue.speaker, " ") : null, ...text),
  );
}

function buttonOf(row) {
  return /** @type {HTMLElement} */ (row.firstElementChild);
}
