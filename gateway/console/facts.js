/** How an answer was come by, as its headers say. */

import { element } from "./elements.js";
import { dollars, duration } from "./format.js";

const CACHE = {
  hit: "hit: kept from before",
  miss: "miss: kept now",
  joined: "joined another call",
  stale: "stale: nobody had a newer one",
  bypass: "not asked",
};

/**
 * @param {Headers} headers
 * @param {string} model as it was asked for
 * @returns {HTMLElement[]}
 */
export function factsOf(headers, model) {
  const given = (name) => headers.get(name) ?? "";
  const number = (name) => (headers.has(name) ? Number(headers.get(name)) : null);
  const [took, audio, age] = [number("X-Compute-Time"), number("X-Audio-Duration"), number("Age")];
  const isHeardNow = ["miss", "bypass"].includes(given("X-Gateway-Cache"));
  const facts = [
    ["Deployment", `${given("X-Gateway-Provider")}/${given("X-Gateway-Model")}`],
    ["Model asked for", model],
    ["Attempts", given("X-Gateway-Attempts")],
    [
      "Cache",
      (CACHE[given("X-Gateway-Cache")] ?? given("X-Gateway-Cache")) + (age === null ? "" : `, ${duration(age)} ago`),
    ],
    ["Time", duration(took) + (took && audio && isHeardNow ? ` · ${(audio / took).toFixed(1)}× real time` : "")],
    ["Audio", duration(audio)],
    ["Cost", dollars(number("X-Gateway-Cost"))],
    ["Request", given("X-Request-Id")],
  ];
  const list = element(
    "dl",
    { class: "facts" },
    ...facts.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", { class: name === "Request" ? "code" : null }, value)),
    ),
  );
  const ignored = given("X-Gateway-Ignored-Parameters");
  return ignored ? [list, element("p", { class: "notice warn small" }, `Without effect here: ${ignored}`)] : [list];
}
