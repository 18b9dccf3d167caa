/** Figures in tiles, rows in a table that scrolls where the page is narrow. */

import { element } from "./elements.js";

/**
 * @param {{title: string, value: string, note?: string, state?: string}[]} figures
 * @returns {HTMLElement}
 */
export function tiles(figures) {
  return element(
    "dl",
    { class: "tiles" },
    ...figures.map(({ title, value, note, state }) =>
      element(
        "div",
        { class: "tile", "data-state": state || null },
        element("dt", {}, title),
        element("dd", {}, value, note ? element("span", { class: "muted small block" }, note) : null),
      ),
    ),
  );
}

/**
 * @param {string} name
 * @param {{title: string, isNumber?: boolean}[]} columns the first names its row
 * @param {(Node | string)[][]} rows
 * @returns {HTMLElement}
 */
export function table(name, columns, rows) {
  const head = element(
    "tr",
    {},
    ...columns.map(({ title, isNumber }) => element("th", { scope: "col", class: isNumber ? "number" : null }, title)),
  );
  const body = rows.map((cells) =>
    element(
      "tr",
      {},
      ...cells.map((cell, at) =>
        at
          ? element("td", { class: columns[at].isNumber ? "number" : null }, cell)
          : element("th", { scope: "row" }, cell),
      ),
    ),
  );
  return element(
    "div",
    { class: "card scroller", role: "region", "aria-label": name, tabindex: 0 },
    element(
      "table",
      {},
      element("caption", { class: "visually-hidden" }, name),
      element("thead", {}, head),
      element("tbody", {}, ...body),
    ),
  );
}
