// A dashboard: its panels on a grid, one feed for each view or query, what the reader chooses at the top.

import { Asked } from "./asked.js";
import { Feed } from "./feed.js";
import { FormPanel } from "./form.js";
import { Page, told } from "./page.js";
import { buildPanel, make } from "./panels.js";
import { Parameters } from "./parameters.js";

const page = new Page();
const grid = document.getElementById("grid");
grid.style.setProperty("--columns", told.columns);
document.body.classList.toggle("wall", told.fit);

page.parameters = new Parameters(told.parameters);
for (const [view, columns] of Object.entries(told.schemas)) {
  const query = told.queries[view];
  page.feeds.set(view, query ? new Asked(view, columns, query, page.parameters, told.live) : new Feed(view, columns));
}
if (told.parameters.length) {
  const choices = make("div", "choices");
  document.querySelector(".topbar .spring").before(choices);
  page.parameters.show(choices, page.feeds);
}
if (told.tabs.length) {
  const tabs = make("nav", "tabs");
  tabs.setAttribute("aria-label", "Related pages");
  for (const one of told.tabs) {
    const link = make("a", "", one.title);
    const point = () => { link.href = `/dashboards/${encodeURIComponent(one.name)}${location.search}`; };
    if (one.name === told.name) link.setAttribute("aria-current", "page");
    for (const event of ["pointerdown", "focus", "pointerenter"]) link.addEventListener(event, point);
    point();
    tabs.append(link);
  }
  document.querySelector(".topbar").after(tabs);
  const here = tabs.querySelector("[aria-current]");
  if (here) tabs.scrollLeft = here.offsetLeft - (tabs.clientWidth - here.offsetWidth) / 2; // on a phone not all are seen
}
for (const one of told.panels) {
  const panel = buildPanel(one, page.feeds, page, { form: FormPanel });
  grid.append(panel.root);
  page.add(panel);
}
// On a phone narrow tiles stand in pairs; one without a partner takes the whole width.
const narrow = page.panels.filter((panel) => panel.root.matches(".tile[data-wide=no]"));
if (narrow.length % 2) narrow.at(-1).root.dataset.wide = "yes";
await page.retheme();
// Only what a panel shows is asked for: of a query with fixed parameters the plain one may not be wanted.
const wanted = new Set([...told.panels.flatMap((panel) => panel.views ?? []), ...told.parameters.map((one) => one.view)]);
for (const view of page.feeds.keys()) if (!wanted.has(view)) page.feeds.delete(view);
for (const feed of page.feeds.values()) feed.start();
document.body.dataset.ready = "yes";
