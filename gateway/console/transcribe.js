/** The view where audio becomes text. */

import { ask, base } from "./api.js";
import { mountAudio } from "./audio.js";
import { cuesOf } from "./cues.js";
import { copied, downloads } from "./downloads.js";
import { byId, element } from "./elements.js";
import { factsOf } from "./facts.js";
import { duration } from "./format.js";
import { languages } from "./languages.js";
import { noticeOf } from "./notices.js";
import { addressOf, parameters, snippets } from "./snippets.js";
import { tabs } from "./tabs.js";
import { TranscriptView } from "./transcript.js";

const OTHER = "*"; // no model is called so
const SNIPPETS = snippets({
  base: "",
  model: "",
  file: "",
  timestamps: "none",
  task: "transcribe",
  language: "",
  prompt: "",
});

/** @returns {{show: () => void, hide: () => void}} */
export function transcribeView() {
  const view = new Transcribing();
  return { show: () => view.loadModels(), hide: () => undefined };
}

class Transcribing {
  constructor() {
    /** @type {File | null} */
    this.file = null;
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {TranscriptView | null} */
    this.transcript = null;
    this.models = new Map();
    this.snippet = SNIPPETS[0].id;
    byId("language").append(...languages().map(({ code, name }) => element("option", { value: code }, name)));
    mountAudio(
      (file) => this.chosen(file),
      (problem) => this.tell(problem),
    );
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    byId("form").addEventListener("input", () => this.optionsChanged());
    byId("cancel").addEventListener("click", () => this.running?.abort());
    byId("copy").addEventListener("click", () => copied(this.code(), say));
    const made = tabs("Languages", SNIPPETS, (id) => {
      this.snippet = id;
      this.showSnippet();
    });
    this.panel = made.panel;
    byId("snippets").append(made.root);
    this.showSnippet();
    this.showNothing();
  }

  async loadModels() {
    if (this.models.size) return;
    byId("refusal").replaceChildren();
    try {
      const { body } = await ask("v1/models");
      this.models = new Map(body.data.map((each) => [each.id, each.deployments]));
    } catch (error) {
      byId("model").replaceChildren(element("option", { value: "" }, "None to choose from"));
      this.refuse(error);
      return;
    }
    byId("model").replaceChildren(
      ...[...this.models.keys()].map((id) => element("option", { value: id }, id)),
      element("option", { value: OTHER }, "Another name…"),
    );
    this.optionsChanged();
  }

  chosen(file) {
    this.file = file;
    byId("refusal").replaceChildren();
    this.transcript?.close();
    this.transcript = null;
    this.showNothing();
    this.showSnippet();
  }

  optionsChanged() {
    byId("other-field").hidden = byId("model").value !== OTHER;
    const deployments = this.models.get(byId("model").value) ?? [];
    const others = deployments.length > 1 ? `, else ${deployments.slice(1).join(", ")}` : "";
    byId("model-note").textContent = deployments.length ? `Asks ${deployments[0]}${others}` : "\u00a0";
    this.showSnippet();
  }

  /** @returns {import("./snippets.js").Wanted} */
  wanted() {
    const form = new FormData(byId("form"));
    const given = (name) => String(form.get(name) ?? "").trim();
    return {
      base: base(),
      model: (given("model") === OTHER ? given("other") : given("model")) || "openai/whisper-large-v3",
      file: this.file?.name ?? "audio.flac",
      timestamps: /** @type {any} */ (given("timestamps")),
      task: /** @type {any} */ (given("task")),
      language: given("language"),
      prompt: given("prompt"),
    };
  }

  code() {
    return snippets(this.wanted()).find((each) => each.id === this.snippet)?.code ?? "";
  }

  showSnippet() {
    this.panel?.replaceChildren(
      element("pre", { tabindex: 0, "aria-label": "The program" }, element("code", { id: "code" }, this.code())),
    );
  }

  async run() {
    if (this.running) return;
    const wanted = this.wanted();
    const lacks = this.lacking();
    if (lacks) {
      this.tell(lacks.words);
      byId(lacks.at).focus();
      return;
    }
    const { file } = this;
    this.running = new AbortController();
    this.begin();
    try {
      const asked = performance.now();
      const { reply, body } = await ask(addressOf("", wanted.model), {
        method: "POST",
        body: formOf(file, wanted),
        headers: byId("anew").checked ? { "Cache-Control": "no-cache" } : {},
        signal: this.running.signal,
      });
      if (this.file === file) this.show(wanted, reply, body, (performance.now() - asked) / 1000);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") byId("progress").textContent = "Cancelled.";
      else this.refuse(error);
    } finally {
      this.end();
    }
  }

  /** @returns {{words: string, at: string} | null} what must be chosen first, and where */
  lacking() {
    if (!this.file) return { words: "Choose a recording first, record one, or try the sample.", at: "file" };
    const isUnnamed = byId("model").value === OTHER && !byId("other").value.trim();
    return isUnnamed ? { words: "Say which model.", at: "other" } : null;
  }

  begin() {
    const began = performance.now();
    byId("refusal").replaceChildren();
    this.transcript?.close();
    byId("result").replaceChildren(
      element("div", { class: "waiting", "aria-hidden": "true" }, element("i"), element("i"), element("i")),
    );
    byId("downloads").hidden = true;
    byId("progress").textContent = "Transcribing…";
    byId("cancel").hidden = false;
    byId("go").disabled = true;
    if (matchMedia("(max-width: 900px)").matches) byId("result").parentElement.scrollIntoView();
    // Told to the eye alone: a screen reader need not hear every second.
    this.clock = setInterval(() => {
      byId("go").textContent = `${Math.floor((performance.now() - began) / 1000)} s`;
    }, 500);
  }

  end() {
    const wasFocused = document.activeElement === byId("cancel");
    clearInterval(this.clock);
    this.running = null;
    byId("cancel").hidden = true;
    byId("go").disabled = false;
    byId("go").textContent = "Transcribe";
    if (wasFocused || document.activeElement === document.body) byId("go").focus({ preventScroll: true });
    if (byId("result").querySelector(".waiting")) this.showNothing();
  }

  show(wanted, reply, body, seconds) {
    const cues = cuesOf(body.text, body.chunks ?? [], wanted.timestamps);
    const words = body.text.split(/\s+/u).filter(Boolean).length;
    byId("progress").textContent = words
      ? `Done in ${duration(seconds)}: ${words} words.`
      : `Done in ${duration(seconds)}: nothing was said.`;
    const shown = cues.length ? this.timed(cues) : [element("p", { class: "plain-text" }, body.text || "(silence)")];
    byId("result").replaceChildren(...factsOf(reply.headers, wanted.model), ...shown);
    byId("downloads").replaceChildren(...downloads({ text: body.text, cues, answer: body, name: wanted.file }, say));
    byId("downloads").hidden = false;
  }

  timed(cues) {
    this.transcript = new TranscriptView(cues, byId("player"), say);
    const hint =
      "A click plays from there. By keyboard: Up and Down for lines, Left and Right for words, Enter to play.";
    return [this.transcript.root, element("p", { class: "muted small hint" }, hint)];
  }

  showNothing() {
    byId("downloads").hidden = true;
    byId("result").replaceChildren(
      element("p", { class: "empty" }, "What was said will stand here, each word with its place in the audio."),
    );
    if (!byId("progress").textContent.startsWith("Cancelled")) byId("progress").textContent = "";
  }

  refuse(error) {
    byId("progress").textContent = "";
    byId("refusal").replaceChildren(noticeOf(error));
  }

  tell(sentence) {
    byId("refusal").replaceChildren(element("div", { class: "notice warn" }, element("p", {}, sentence)));
  }
}

function formOf(file, wanted) {
  const form = new FormData();
  for (const [name, value] of parameters(wanted)) form.set(name, value);
  form.set("file", file, file.name);
  return form;
}

function say(word) {
  byId("spoken").textContent = word;
}
