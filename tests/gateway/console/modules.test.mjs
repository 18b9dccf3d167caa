// The page's modules that need no page. test_modules.py runs this beside a copy of them.
import assert from "node:assert/strict";
import test from "node:test";

import { cuesOf, indexAt } from "./cues.js";
import { clock, count, dollars, duration, percent, size } from "./format.js";
import { snippets } from "./snippets.js";
import { asSrt, asVtt } from "./subtitles.js";

const word = (text, start, end, more = {}) => ({ text, timestamp: [start, end], ...more });
const cue = (text, start, end, speaker = null) => ({ text, start, end, speaker, words: [] });

test("words become lines where a sentence ends, somebody pauses, speaks on for long, or another speaks", () => {
  const text = "Yes. And so we go on here";
  const chunks = [
    word("Yes.", 0, 0.4),
    word(" And", 0.5, 0.7),
    word(" so", 0.7, 0.9),
    word(" we", 2.5, 2.7),
    word(" go", 2.7, 9.6),
    word(" on", 9.6, 9.65),
    word(" here", 9.9, 10, { speaker: "B" }),
  ];
  const lines = cuesOf(text, chunks, "word");
  assert.deepEqual(
    lines.map((each) => each.text),
    ["Yes.", "And so", "we", "go on", "here"],
  );
  assert.deepEqual(
    lines.map((each) => [each.start, each.end]),
    [
      [0, 0.4],
      [0.5, 0.9],
      [2.5, 2.7],
      [2.7, 9.65],
      [9.9, 10],
    ],
  );
  assert.equal(lines[4].speaker, "B");
});

test("words are written together where the text writes them so", () => {
  const [line] = cuesOf("你好 world", [word("你", 0, 1), word("好", 1, 2), word("world", 2, 3)], "word");
  assert.equal(line.text, "你好 world");
  assert.deepEqual(
    line.words.map((each) => each.space),
    [false, false, true],
  );
});

test("a line is never longer than two of a subtitle", () => {
  const chunks = Array.from({ length: 60 }, (_, at) => word("immeasurable", at / 10, at / 10 + 0.1));
  assert.ok(cuesOf("", chunks, "word").every((each) => each.text.length <= 84));
});

test("segments are lines as they came, and nothing is where there are no times", () => {
  assert.deepEqual(cuesOf("a b", [word(" a ", 0, 1), word("  ", 1, 2), word("b", 2, 3)], "segment"), [
    cue("a", 0, 1),
    cue("b", 2, 3),
  ]);
  assert.deepEqual(cuesOf("a", [word("a", 0, 1)], "none"), []);
});

test("the last that has begun is the one that is heard", () => {
  const spans = [{ start: 1 }, { start: 2 }, { start: 2 }, { start: 5 }];
  assert.deepEqual(
    [0, 1, 2, 4.9, 5, 99].map((at) => indexAt(spans, at)),
    [-1, 0, 2, 2, 3, 3],
  );
  assert.equal(indexAt([], 1), -1);
});

test("SubRip: numbered, in order, no arrow in the text, no empty cue", () => {
  const cues = [cue("b --> c", 3661.0015, 3661, "Ann"), cue("a\n\nb", 0, 1.5)];
  assert.equal(
    asSrt(cues),
    "1\n00:00:00,000 --> 00:00:01,500\na b\n\n2\n01:01:01,002 --> 01:01:01,012\nAnn: b -> c\n\n",
  );
});

test("WebVTT: what is syntax there is written otherwise", () => {
  assert.equal(asVtt([cue("<i> & -->", 0, 1)]), "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n&lt;i&gt; &amp; --&gt;\n\n");
  assert.equal(
    asVtt([cue("hello", 0, 1, "A & B")]),
    "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n<v A &amp; B>hello\n\n",
  );
  assert.equal(asVtt([]), "WEBVTT\n\n");
});

const WANTED = {
  base: "https://asr.example.com/",
  model: "openai/whisper-1",
  file: "a.flac",
  timestamps: "none",
  task: "transcribe",
  language: "",
  prompt: "",
};
const code = (id, more) => snippets({ ...WANTED, ...more }).find((each) => each.id === id).code;

test("a snippet says what is asked for and no more", () => {
  assert.equal(
    code("curl", {}),
    'curl https://asr.example.com/models/openai/whisper-1 \\\n  -H "Authorization: Bearer $ASR_GATEWAY_KEY" \\\n  -F file=@a.flac',
  );
  for (const { code: plain } of snippets(WANTED))
    assert.ok(!/timestamp|language|task|prompt|verbose/.test(plain), plain);
});

test("a translation of OpenAI's takes no language and no granularity", () => {
  const asked = code("openai", { task: "translate", language: "de", timestamps: "word" });
  assert.match(asked, /audio\.translations\.create/);
  assert.doesNotMatch(asked, /language|granularities/);
  assert.match(code("curl", { task: "translate", language: "de" }), /language=de.*\n.*task=translate/);
});

test("names and prompts stay words, whatever is in them", () => {
  const shown = code("curl", { file: 'it\'s;1,2"x".flac', prompt: "$(id) `id` 'x' @y", base: "http://[::1]:8080/gw/" });
  assert.ok(shown.includes("'http://[::1]:8080/gw/models/openai/whisper-1'"));
  assert.ok(shown.includes(`-F 'file=@"it'\\''s;1,2\\"x\\".flac"'`));
  assert.ok(shown.includes("--form-string 'prompt=$(id) `id` '\\''x'\\'' @y'"));
  assert.ok(code("openai", { prompt: 'a "b"\nc\\' }).includes('prompt="a \\"b\\"\\nc\\\\"'));
});

test("numbers as people read them", () => {
  assert.deepEqual([0, 5.25, 65.96, 3723].map(clock), ["0:00.0", "0:05.3", "1:06.0", "1:02:03.0"]);
  assert.deepEqual([null, 0, 0.0004, 0.24, 0.9999, 1.236, 42.04, 119.6, 9000].map(duration), [
    "–",
    "0 s",
    "0 ms",
    "240 ms",
    "1.00 s",
    "1.24 s",
    "42.0 s",
    "2 min 0 s",
    "2.5 h",
  ]);
  assert.deepEqual([null, 0, 0.000123, 0.05, 0.5, 12].map(dollars), [
    "not known",
    "$0",
    "$0.00012",
    "$0.05",
    "$0.50",
    "$12.00",
  ]);
  assert.deepEqual([0, 999, 1500, 55_557, 1e9].map(size), ["0 B", "999 B", "1.5 kB", "56 kB", "1.0 GB"]);
  assert.deepEqual(
    [percent(1, 3), percent(1, 300), percent(0, 5), percent(0, 0), count(12345)],
    ["33 %", "0.3 %", "0 %", "–", "12,345"],
  );
});
