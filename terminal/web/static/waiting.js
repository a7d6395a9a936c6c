// Visits that go on: what was set aside, refunded, or left over from an earlier
// day. The service keeps them; the page lists them while nobody is served.

import { $, element, fill, isUsable, show, usable } from "./dom.js";
import { known, language, moment, say, t } from "./language.js";
import { announce, call, isBusy, run } from "./commands.js";
import { shown } from "./money.js";
import { model, permits, reader, visit } from "./model.js";

const most = 50;

let redraw = () => {};
let list = [];
let seen = null; // what was published when the list was fetched
let asking = false;

export function startWaiting(draw) {
  redraw = draw;
  $("set-aside").addEventListener("click", setAside);
  $("waiting-body").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-visit]");
    if (button && isUsable(button)) resume(button.dataset.visit, button);
  });
}

export function drawWaiting() {
  const now = visit();
  show("set-aside", permits("set-aside"));
  usable("set-aside", model.connected && !isBusy("visit"));
  const key = JSON.stringify([model.state.journal, now?.id ?? null]);
  if (!now && model.connected && key !== seen && !asking) look(key);
  show("waiting", !now && list.length > 0);
  const can = model.connected && !isBusy("visit");
  fill("waiting-body", [list, can, language()], () => list.map((each) => row(each, can)));
}

async function look(key) {
  asking = true;
  try {
    list = (await call("GET", `/v1/visits?state=open&limit=${most}`)).visits ?? [];
  } catch {
    list = []; // the journal's own health says why
  }
  seen = key;
  asking = false;
  redraw();
}

const state = (each) => t(known(`visit.state.${each.state}`) ? `visit.state.${each.state}` : "visit.state.lines");

function row(each, can) {
  return element("tr", { class: each.state === "unknown" ? "unknown" : null },
    element("th", { scope: "row" }, say(each.holder?.name) || "—"),
    element("td", null, t(known(`kind.${each.kind}`) ? `kind.${each.kind}` : "kind.outpatient")),
    element("td", null, moment(each.opened)),
    element("td", null, state(each)),
    element("td", { class: "n" }, shown(each.total)),
    element("td", { class: "tools" }, element("button", { type: "button", class: "quiet", id: `resume-${each.id}`, "data-visit": each.id, "aria-disabled": can ? null : "true", "aria-label": t("waiting.resume.label", { name: say(each.holder?.name) || each.id }) }, each.state === "unknown" ? t("waiting.show") : t("waiting.resume"))));
}

async function setAside() {
  const now = visit();
  if (!now || !isUsable($("set-aside"))) return;
  const done = await run("visit", $("set-aside"), () => call("POST", `/v1/visits/${encodeURIComponent(now.id)}/set-aside`, {}));
  if (!done) return;
  seen = null;
  redraw();
  announce(t("waiting.aside"));
}

async function resume(id, button) {
  await run("visit", button, () => call("POST", `/v1/visits/${encodeURIComponent(id)}/resume`, { reader: reader()?.id }, 180000));
}
