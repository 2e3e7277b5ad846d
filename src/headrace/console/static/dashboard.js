// A dashboard: its panels on a grid, one feed for each view.

import { Feed } from "./feed.js";
import { Page, told } from "./page.js";
import { buildPanel } from "./panels.js";

const page = new Page();
const grid = document.getElementById("grid");
grid.style.setProperty("--columns", told.columns);
document.body.classList.toggle("wall", told.fit);

for (const [view, columns] of Object.entries(told.schemas)) page.feeds.set(view, new Feed(view, columns));
for (const one of told.panels) {
  const panel = buildPanel(one, page.feeds, page);
  grid.append(panel.root);
  page.add(panel);
}
// On a phone narrow tiles stand in pairs; one without a partner takes the whole width.
const narrow = page.panels.filter((panel) => panel.root.matches(".tile[data-wide=no]"));
if (narrow.length % 2) narrow.at(-1).root.dataset.wide = "yes";
await page.retheme();
for (const feed of page.feeds.values()) feed.start();
document.body.dataset.ready = "yes";
