// Calls of @huggingface/inference, described as JSON on standard input, answered as JSON on standard output.
//
// {gateway, calls: {name: {file, type, input, args, client, options, redirect}}}
//   type: of the Blob, which the client sends as Content-Type or relabels; null: none
//   input: "data" | "inputs", the argument that holds the audio; "buffer" | "base64": data as an ArrayBuffer, a string
//   redirect: whether a custom `fetch` moves the Hub and the router to the gateway
import { readFileSync } from "node:fs";
import { InferenceClient } from "@huggingface/inference";

console.log = console.error; // the client says there which provider it chose
const asked = JSON.parse(readFileSync(0, "utf8"));
const answered = {};
for (const [name, call] of Object.entries(asked.calls)) {
  answered[name] = await result(call);
}
process.stdout.write(JSON.stringify(answered));

async function result(call) {
  let sent = 0;
  const counting = (url, init) => {
    sent += 1;
    const from = new URL(url);
    return fetch(call.redirect ? asked.gateway + from.pathname + from.search : url, init);
  };
  const client = new InferenceClient(call.client.token, { ...call.client.options, fetch: counting });
  try {
    const heard = await client.automaticSpeechRecognition({ ...audioOf(call), ...call.args }, call.options ?? {});
    return { text: heard.text, chunks: heard.chunks ?? null, sent };
  } catch (error) {
    const { status, requestId } = error.httpResponse ?? {};
    return { error: error.constructor.name, message: error.message, status, requestId, sent };
  }
}

function audioOf({ file, type, input }) {
  if (file === null) {
    return { data: new Blob(["no audio at all, whatever the type says!"], { type }) };
  }
  const bytes = readFileSync(file);
  switch (input) {
    case "base64":
      return { inputs: bytes.toString("base64") };
    case "buffer":
      return { data: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) };
    default:
      return { [input]: new Blob([bytes], type === null ? {} : { type }) };
  }
}
