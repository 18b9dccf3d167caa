/** The view of deployments: asked for while somebody looks. */

import { ask } from "./api.js";
import { byId, element } from "./elements.js";
import { count, duration, percent, size } from "./format.js";
import { noticeOf } from "./notices.js";
import { table, tiles } from "./tables.js";

const EVERY_MS = 3000;
const COLUMNS = [
  { title: "Deployment" },
  { title: "Breaker" },
  { title: "Calls a minute", isNumber: true },
  { title: "Errors", isNumber: true },
  { title: "Median", isNumber: true },
  { title: "Pace", isNumber: true },
  { title: "In flight", isNumber: true },
  { title: "Waiting", isNumber: true },
];
const WHY = {
  failing: "it fails",
  slow: "it is slow",
  "rate-limited": "it limits us",
  credentials: "it refuses the key",
  quota: "no credit is left",
  limit: "its quota is used up",
};

/** @returns {{show: () => void, hide: () => void}} */
export function statusView() {
  let isShown = false;
  let timer = 0;
  let isCacheShut = false;

  /** What is kept of answers; null where this caller may not know. */
  async function askCache() {
    if (isCacheShut) return null;
    try {
      return (await ask("admin/cache")).body;
    } catch (error) {
      if (!error.wantsKey) throw error;
      isCacheShut = true;
      return null;
    }
  }

  async function refresh() {
    clearTimeout(timer);
    if (!isShown || document.hidden) return;
    try {
      const [status, cache] = [(await ask("status")).body, await askCache()];
      byId("status-notice").replaceChildren();
      draw(status, cache);
    } catch (error) {
      byId("status-notice").replaceChildren(noticeOf(error, "an admin's key"));
      if (error.wantsKey) {
        byId("status-body").replaceChildren();
        return; // another key begins anew
      }
    }
    clearTimeout(timer);
    timer = setTimeout(refresh, EVERY_MS);
  }

  document.addEventListener("visibilitychange", refresh);
  return {
    show: () => {
      isShown = true;
      isCacheShut = false;
      refresh();
    },
    hide: () => {
      isShown = false;
    },
  };
}

function draw(status, cache) {
  const notes = [...status.missing, ...(status.reload_error ? [status.reload_error] : [])];
  const held = focusedScroll();
  byId("status-body").replaceChildren(
    tiles([
      { title: "Gateway", value: status.status, state: status.status },
      { title: "In flight", value: count(status.in_flight), note: "without the question this answers" },
      ...(status.workers === undefined ? [] : [{ title: "Workers", value: count(status.workers) }]),
      { title: "Redis", value: status.redis ?? "not used", state: status.redis === "lost" ? "degraded" : "" },
      cache
        ? {
            title: "Kept answers",
            value: count(cache.entries),
            note: `${cache.store}, ${size(cache.bytes)}, ${count(cache.evictions)} evicted`,
          }
        : { title: "Kept answers", value: "–", note: "told to an admin's key" },
    ]),
    ...notes.map((each) => element("p", { class: "notice warn" }, each)),
    table("Deployments", COLUMNS, status.deployments.map(row)),
    element(
      "p",
      { class: "muted small hint" },
      "Calls, errors and the median time to an answer are of the last minute. Pace is seconds of work for a second of audio, lately. A closed breaker lets calls through.",
    ),
  );
  held();
}

/** @returns {() => void} gives back the focus and the scrolled place that a redrawn table loses */
function focusedScroll() {
  const old = byId("status-body").querySelector(".scroller");
  const [left, isFocused] = [old?.scrollLeft ?? 0, old !== null && old === document.activeElement];
  return () => {
    const made = byId("status-body").querySelector(".scroller");
    made.scrollLeft = left;
    if (isFocused) made.focus({ preventScroll: true });
  };
}

function row(each) {
  const minute = each.last_minute;
  const again = each.again_in_s === null ? "" : `, again in ${duration(each.again_in_s)}`;
  const why = each.why ? element("span", { class: "muted small block" }, (WHY[each.why] ?? each.why) + again) : null;
  return [
    each.deployment,
    element("span", {}, element("span", { class: "badge", "data-state": each.state }, each.state), why),
    count(minute.calls),
    minute.errors ? `${count(minute.errors)} (${percent(minute.errors, minute.calls)})` : "0",
    duration(minute.median_s),
    each.pace === null ? "–" : `${each.pace.toFixed(2)} s/s`,
    count(each.in_flight),
    count(each.waiting),
  ];
}
