/** The microphone, as a file. */

const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

/** @returns {boolean} whether this page may ask for a microphone at all: on https and localhost only */
export function canRecord() {
  return Boolean(navigator.mediaDevices?.getUserMedia) && "MediaRecorder" in window;
}

/** A recording in progress. */
export class Recording {
  /** @returns {Promise<Recording>} raises DOMException where there is no microphone, or it may not be used */
  static async start() {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    return new Recording(stream);
  }

  /** @param {MediaStream} stream */
  constructor(stream) {
    this.stream = stream;
    this.parts = [];
    this.began = performance.now();
    const type = TYPES.find((each) => MediaRecorder.isTypeSupported(each));
    this.recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
    this.recorder.addEventListener("dataavailable", (event) => this.parts.push(event.data));
    this.recorder.start(1000);
  }

  /** @returns {number} */
  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  /** @returns {Promise<File>} what was said, once it is whole; the microphone is let go */
  async stop() {
    const stopped = new Promise((resolve) => this.recorder.addEventListener("stop", resolve, { once: true }));
    if (this.recorder.state !== "inactive") {
      this.recorder.stop();
      await stopped;
    }
    for (const track of this.stream.getTracks()) track.stop();
    const type = this.recorder.mimeType.split(";")[0];
    const ending = { "audio/webm": "webm", "audio/mp4": "m4a", "audio/ogg": "ogg" }[type] ?? "audio";
    return new File(this.parts, `recording.${ending}`, { type });
  }
}
