/** A transcript's chunks as lines to read: words gathered where people pause. Nothing here touches the page. */

/**
 * @typedef {{text: string, timestamp: [number, number], speaker?: string}} Chunk  as the gateway answers
 * @typedef {{text: string, start: number, end: number, space: boolean}} Word  times in seconds; space: one before it
 * @typedef {{text: string, start: number, end: number, speaker: string | null, words: Word[]}} Cue
 */

const LONGEST_CHARACTERS = 84; // two lines of a subtitle
const LONGEST_S = 7;
const PAUSE_S = 1;
const ENDS_A_SENTENCE = /[.?!…。？！]["'”’)\]]*$/u;

/**
 * @param {string} text of the whole transcript, which tells where words are written apart
 * @param {Chunk[]} chunks
 * @param {"none" | "segment" | "word"} level
 * @returns {Cue[]} none where there are no times
 */
export function cuesOf(text, chunks, level) {
  if (level === "none") return [];
  const spoken = chunks.filter((each) => each.text.trim());
  return level === "word" ? gathered(text, spoken) : spoken.map(asCue);
}

function asCue(chunk) {
  const [start, end] = chunk.timestamp;
  return { text: chunk.text.trim(), start, end, speaker: chunk.speaker ?? null, words: [] };
}

function gathered(text, chunks) {
  const cues = [];
  let cursor = 0;
  for (const chunk of chunks) {
    const word = chunk.text.trim();
    const found = text.indexOf(word, cursor);
    const space = found < 1 || /\s/u.test(text[found - 1]);
    if (found >= 0) cursor = found + word.length;
    const [start, end] = chunk.timestamp;
    const open = cues.at(-1);
    if (open && belongs(open, word, start, end, chunk.speaker ?? null)) {
      open.text += (space ? " " : "") + word;
      open.end = Math.max(open.end, end);
      open.words.push({ text: word, start, end, space });
    } else {
      cues.push({
        text: word,
        start,
        end,
        speaker: chunk.speaker ?? null,
        words: [{ text: word, start, end, space: false }],
      });
    }
  }
  return cues;
}

function belongs(cue, word, start, end, speaker) {
  return (
    cue.speaker === speaker &&
    start - cue.end < PAUSE_S &&
    end - cue.start <= LONGEST_S &&
    cue.text.length + word.length < LONGEST_CHARACTERS &&
    !ENDS_A_SENTENCE.test(cue.text)
  );
}

/**
 * @param {{start: number}[]} spans in order of their starts
 * @param {number} at seconds
 * @returns {number} the index of the last that has begun; -1 before the first
 */
export function indexAt(spans, at) {
  let [low, high] = [0, spans.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle].start <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
