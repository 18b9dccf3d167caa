/** The audio: chosen, dropped, recorded or the sample; and its player. */

import { base } from "./api.js";
import { byId } from "./elements.js";
import { clock, size } from "./format.js";
import { Recording, canRecord } from "./recorder.js";

/**
 * @param {(file: File) => void} onChosen
 * @param {(problem: string) => void} onProblem
 */
export function mountAudio(onChosen, onProblem) {
  const choose = (file) => {
    play(file);
    onChosen(file);
  };
  byId("file").addEventListener("change", () => {
    const [file] = byId("file").files;
    if (file) choose(file);
  });
  mountDrop(choose);
  byId("sample").addEventListener("click", async () => {
    const reply = await fetch(new URL("console/sample.mp3", base()), { credentials: "omit" });
    choose(new File([await reply.blob()], "sample.mp3", { type: "audio/mpeg" }));
  });
  mountRecorder(choose, onProblem);
}

/** Anywhere on the page: a file that misses the zone would else replace the page. */
function mountDrop(choose) {
  const zone = byId("drop");
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    zone.classList.toggle("over", depth > 0);
  };
  addEventListener("dragenter", () => over(1));
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    const file = event.dataTransfer?.files[0];
    if (file) choose(file);
  });
}

function mountRecorder(choose, onProblem) {
  const [button, label] = [byId("record"), byId("record-label")];
  /** @type {Recording | null} */
  let recording = null;
  let ticking = 0;
  if (!canRecord()) {
    button.disabled = true;
    button.title = "Browsers give a microphone to https and localhost alone.";
    return;
  }
  button.addEventListener("click", async () => {
    if (recording) {
      clearInterval(ticking);
      const whole = recording;
      recording = null;
      show(button, label, "Record", false);
      choose(await whole.stop());
      return;
    }
    button.disabled = true;
    try {
      recording = await Recording.start();
      show(button, label, "Stop 0:00.0", true);
      ticking = setInterval(() => {
        label.textContent = `Stop ${clock(recording?.seconds ?? 0)}`;
      }, 100);
    } catch (error) {
      onProblem(
        `There is no recording: ${error instanceof DOMException && error.name === "NotAllowedError" ? "the microphone was not allowed" : "no microphone was found"}.`,
      );
    } finally {
      button.disabled = false;
    }
  });
}

function show(button, label, word, isOn) {
  label.textContent = word;
  button.classList.toggle("is-on", isOn);
}

let address = "";

function play(file) {
  const player = byId("player");
  URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  player.src = address;
  player.addEventListener("loadedmetadata", () => measure(player), { once: true });
  byId("chosen").textContent = `${file.name} · ${size(file.size)}`;
  byId("drop").classList.add("has-file");
}

/** A recording says nothing of its length: the browser finds its end when it is sent there. */
function measure(player) {
  if (player.duration !== Infinity) return;
  player.addEventListener(
    "durationchange",
    () => {
      player.currentTime = 0;
    },
    { once: true },
  );
  player.currentTime = 1e7;
}
