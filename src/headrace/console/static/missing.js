// A page that does not exist: what was asked, what there is.

import { Page, told } from "./page.js";
import { make } from "./panels.js";

new Page();
const box = make("section", "panel list");
const body = make("div", "body");
body.append(make("pre", "problem", told.problem));
const home = make("a", "", "To the first page");
home.href = "/";
body.append(home);
box.append(body);
document.getElementById("grid").append(box);
document.getElementById("overall").hidden = true;
document.body.dataset.ready = "yes";
