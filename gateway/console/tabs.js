/** Tabs as the ARIA practices describe them: arrows move, one is in the order of Tab. */

import { element } from "./elements.js";

/**
 * @param {string} name what the tabs are of
 * @param {{id: string, title: string}[]} tabs
 * @param {(id: string) => void} onChosen
 * @returns {{root: HTMLElement, panel: HTMLElement}}
 */
export function tabs(name, tabs, onChosen) {
  const panel = element("div", { role: "tabpanel", id: "tab-panel", class: "panel" });
  const buttons = tabs.map(({ id, title }) =>
    element(
      "button",
      { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "tab-panel", onclick: () => choose(id) },
      title,
    ),
  );
  const list = element("div", { role: "tablist", "aria-label": name, class: "tabs" }, ...buttons);

  function choose(id) {
    for (const [at, button] of buttons.entries()) {
      const isChosen = tabs[at].id === id;
      button.setAttribute("aria-selected", String(isChosen));
      button.tabIndex = isChosen ? 0 : -1;
      if (isChosen) panel.setAttribute("aria-labelledby", button.id);
    }
    onChosen(id);
  }

  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    const to = (next + buttons.length) % buttons.length;
    buttons[to].focus();
    choose(tabs[to].id);
  });
  choose(tabs[0].id);
  return { root: element("div", {}, list, panel), panel };
}
