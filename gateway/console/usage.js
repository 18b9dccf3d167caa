/** The view of the ledger: sums by key, model, day and so on. */

import { ask } from "./api.js";
import { byId, drawn, element } from "./elements.js";
import { count, dollars, duration, percent } from "./format.js";
import { noticeOf } from "./notices.js";
import { table, tiles } from "./tables.js";

const MOST_BARS = 12;
const MEASURES = {
  requests: { title: "Requests", write: count },
  audio_s: { title: "Audio", write: duration },
  cost_usd: { title: "Cost", write: dollars },
};
const NUMBERS = ["Requests", "Audio", "Billed", "Cost", "From the cache", "Failures"].map((title) => ({
  title,
  isNumber: true,
}));

/** @returns {{show: () => void, hide: () => void}} */
export function usageView() {
  let told = null;
  let asked = 0;

  async function load() {
    const mine = (asked += 1);
    const query = new URLSearchParams({ by: byId("usage-by").value, since: byId("usage-since").value });
    try {
      const { body } = await ask(`admin/usage?${query}`);
      if (mine !== asked) return; // another question came after
      told = body;
      byId("usage-notice").replaceChildren();
      draw(told);
    } catch (error) {
      if (mine !== asked) return;
      told = null;
      byId("usage-body").replaceChildren();
      byId("usage-notice").replaceChildren(noticeOf(error, "an admin's key"));
    }
  }

  byId("usage-form").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["usage-by", "usage-since"]) byId(id).addEventListener("change", load);
  byId("usage-measure").addEventListener("change", () => told && draw(told));
  return { show: load, hide: () => undefined };
}

function draw(told) {
  const { by, sums } = told;
  const sum = (name) => sums.reduce((total, each) => total + each[name], 0);
  if (!sums.length) {
    byId("usage-body").replaceChildren(
      element("p", { class: "card empty" }, "Nobody asked for anything in this time."),
    );
    return;
  }
  const unpriced = sum("unpriced");
  byId("usage-body").replaceChildren(
    tiles([
      { title: "Requests", value: count(sum("requests")), note: `${count(sum("failures"))} failed` },
      { title: "Audio", value: duration(sum("audio_s")) },
      {
        title: "Cost",
        value: dollars(sum("cost_usd")),
        note: unpriced ? `${count(unpriced)} answers have no known price` : "",
      },
      { title: "From the cache", value: percent(sum("hits"), sum("requests")) },
    ]),
    bars(by, sums),
    table(
      "Sums",
      [...by.map((each) => ({ title: each[0].toUpperCase() + each.slice(1) })), ...NUMBERS],
      sums.map((each) => row(by, each)),
    ),
  );
}

function bars(by, sums) {
  const measure = byId("usage-measure").value;
  const { title, write } = MEASURES[measure];
  const inOrder = by.includes("day")
    ? sums.slice(-MOST_BARS)
    : [...sums].sort((one, other) => other[measure] - one[measure]).slice(0, MOST_BARS);
  const most = Math.max(...inOrder.map((each) => each[measure])) || 1;
  const rows = inOrder.map((each) =>
    element(
      "li",
      {},
      element("span", { class: "bar-name" }, nameOf(by, each)),
      bar(each[measure] / most),
      element("span", { class: "bar-value" }, write(each[measure])),
    ),
  );
  return element(
    "section",
    { class: "card", "aria-label": `${title} by ${by.join(" and ")}` },
    element("h2", {}, title),
    element("ol", { class: "bars" }, ...rows),
  );
}

function bar(part) {
  return drawn(
    "svg",
    { class: "bar-line", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    drawn("rect", { class: "bar-all", width: 100, height: 8 }),
    drawn("rect", { class: "bar-part", width: Math.max(part ? 0.5 : 0, part * 100), height: 8 }),
  );
}

function nameOf(by, each) {
  return by.map((name) => each[name] || "–").join(" · ");
}

function row(by, each) {
  return [
    ...by.map((name) => each[name] || "–"),
    count(each.requests),
    duration(each.audio_s),
    duration(each.billed_s),
    each.cost_usd || !each.unpriced ? dollars(each.cost_usd) : "not known",
    count(each.hits),
    count(each.failures),
  ];
}
