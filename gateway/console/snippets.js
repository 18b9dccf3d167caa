/** The same request in other words: for a shell and for programs, never with the key in it. */

/**
 * @typedef {object} Wanted
 * @property {string} base the gateway's address, with a slash at its end
 * @property {string} model
 * @property {string} file its name
 * @property {"none" | "segment" | "word"} timestamps
 * @property {"transcribe" | "translate"} task
 * @property {string} language "" where it is to be detected
 * @property {string} prompt
 * @typedef {{id: string, title: string, code: string}} Snippet
 */

/** @param {Wanted} wanted @returns {Snippet[]} */
export function snippets(wanted) {
  return [
    { id: "curl", title: "curl", code: curl(wanted) },
    { id: "huggingface", title: "huggingface_hub", code: huggingFace(wanted) },
    { id: "openai", title: "openai", code: openAi(wanted) },
    { id: "javascript", title: "JavaScript", code: javaScript(wanted) },
  ];
}

/** @param {Wanted} wanted @returns {[string, string][]} what is asked for beside the audio, by the specification's names */
export function parameters({ timestamps, language, task, prompt }) {
  const times = { none: "", segment: "true", word: "word" }[timestamps];
  const given = [
    ["return_timestamps", times],
    ["language", language],
    ["task", task === "transcribe" ? "" : task],
    ["prompt", prompt],
  ];
  return given.filter(([, value]) => value);
}

/** @param {string} base "" for an address to be completed @param {string} model @returns {string} where it is asked */
export function addressOf(base, model) {
  return `${base}models/${model.split("/").map(encodeURIComponent).join("/")}`;
}

function curl(wanted) {
  const lines = [
    `curl ${shell(addressOf(wanted.base, wanted.model))}`,
    `-H "Authorization: Bearer $ASR_GATEWAY_KEY"`,
    `-F ${shell(`file=@${inForm(wanted.file)}`)}`,
    ...parameters(wanted).map(([name, value]) => `--form-string ${shell(`${name}=${value}`)}`),
  ];
  return lines.join(" \\\n  ");
}

function huggingFace(wanted) {
  const given = parameters(wanted).map(
    ([name, value]) => `${python(name)}: ${value === "true" ? "True" : python(value)}`,
  );
  const extra = given.length ? `, extra_body={${given.join(", ")}}` : "";
  return `import os

from huggingface_hub import InferenceClient

client = InferenceClient(
    model=${python(addressOf(wanted.base, wanted.model))},
    api_key=os.environ["ASR_GATEWAY_KEY"],
)
heard = client.automatic_speech_recognition(${python(wanted.file)}${extra})
print(heard.${wanted.timestamps === "none" ? "text" : "chunks"})
`;
}

function openAi(wanted) {
  const translates = wanted.task === "translate";
  const isTimed = wanted.timestamps !== "none";
  const given = [
    `model=${python(wanted.model)}`,
    "file=file",
    isTimed && 'response_format="verbose_json"',
    isTimed && !translates && `timestamp_granularities=["${wanted.timestamps}"]`,
    wanted.language && !translates && `language=${python(wanted.language)}`,
    wanted.prompt && `prompt=${python(wanted.prompt)}`,
  ].filter(Boolean);
  const shown = !isTimed ? "text" : wanted.timestamps === "word" && !translates ? "words" : "segments";
  return `import os

from openai import OpenAI

client = OpenAI(base_url=${python(`${wanted.base}v1`)}, api_key=os.environ["ASR_GATEWAY_KEY"])
with open(${python(wanted.file)}, "rb") as file:
    heard = client.audio.${translates ? "translations" : "transcriptions"}.create(
${given.map((each) => `        ${each},\n`).join("")}    )
print(heard.${shown})
`;
}

function javaScript(wanted) {
  const fields = parameters(wanted).map(
    ([name, value]) => `form.set(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
  );
  const file = JSON.stringify(wanted.file);
  return `import { readFile } from "node:fs/promises";

const form = new FormData();
form.set("file", new Blob([await readFile(${file})]), ${file});
${fields.join("")}
const reply = await fetch(${JSON.stringify(addressOf(wanted.base, wanted.model))}, {
  method: "POST",
  headers: { Authorization: \`Bearer \${process.env.ASR_GATEWAY_KEY}\` },
  body: form,
});
console.log(await reply.json());
`;
}

/** A word for a POSIX shell. */
function shell(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A file's name as curl's -F reads it: a comma or a semicolon would end it. */
function inForm(name) {
  return /^[\w. -]+$/.test(name) ? name : `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/** A string as Python reads it: JSON's is one. */
function python(text) {
  return JSON.stringify(text);
}
