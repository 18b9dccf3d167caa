/** The page's beginning: views by the address's #, and whether the gateway is ready. */

import { base } from "./api.js";
import { byId } from "./elements.js";
import { mountKey, onKey } from "./key.js";
import { statusView } from "./status.js";
import { transcribeView } from "./transcribe.js";
import { usageView } from "./usage.js";

const READY_EVERY_MS = 15_000;
const WORDS = { ready: "Ready", degraded: "Degraded", loading: "Loading", draining: "Draining" };

mountKey();
/** @type {Record<string, {show: () => void, hide: () => void}>} */
const views = { transcribe: transcribeView(), status: statusView(), usage: usageView() };
let shown = "";

function route() {
  const asked = location.hash.slice(1);
  const name = asked in views ? asked : shown || "transcribe";
  if (name === shown) return;
  if (shown) views[shown].hide();
  shown = name;
  for (const each of Object.keys(views)) byId(`view-${each}`).hidden = each !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${byId(`${name}-title`).textContent} · asr-gateway`;
  views[name].show();
}

async function readiness() {
  if (document.hidden) return;
  let word = "unreachable";
  try {
    const reply = await fetch(new URL("health/ready", base()), { credentials: "omit" });
    word = (await reply.json()).status;
  } catch {
    // It is said below.
  }
  const at = byId("readiness");
  at.textContent = WORDS[word] ?? "Not reachable";
  at.dataset.state = word;
}

addEventListener("hashchange", route);
document.addEventListener("visibilitychange", readiness);
onKey(() => views[shown].show());
route();
readiness();
setInterval(readiness, READY_EVERY_MS);
