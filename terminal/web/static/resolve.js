// What became of an entry of unknown outcome: what the centre was asked and what
// it answered, asking it again, and a person's decision.

import { $, element, fill, setText, show, usable } from "./dom.js";
import { language, moment, say, t } from "./language.js";
import { announce, call, forget, isBusy, run } from "./commands.js";
import { shown } from "./money.js";
import { model } from "./model.js";

const patience = 300000; // asking waits for the centre, several times
const amounts = ["total", "fund", "account", "cash"];

let entry = null; // in the dialog
let changed = () => {}; // told of an entry as it is after a command
let opened = 0; // the entry whose form is open

export function startResolve(onChange) {
  changed = onChange;
  $("entry-ask").addEventListener("click", () => ask());
  $("entry-decide").addEventListener("click", () => {
    opened = opened === entry?.id ? 0 : entry.id;
    drawResolve(entry);
    if (opened) $(contradicted() ? "resolve-reason" : "resolve-done").focus();
  });
  $("resolve-form").addEventListener("change", () => drawResolve(entry));
  $("resolve-form").addEventListener("submit", (event) => {
    event.preventDefault();
    decide();
  });
}

const contradicted = () => entry?.inquiry?.state === "contradicted";
const undecided = () => entry?.outcome === "unknown" || contradicted();
const permitted = () => (model.state?.rights ?? ["resolve"]).includes("resolve");

async function ask() {
  const id = entry?.id;
  if (!id) return;
  let after = null;
  const done = await run("resolve", $("entry-ask"), async () => {
    after = await call("POST", `/v1/journal/${id}/ask`, {}, patience);
  });
  if (!done || entry?.id !== id) return;
  changed(after);
  announce(say(after.inquiry?.text) || t("entry.outcome"));
}

async function decide() {
  const id = entry?.id;
  if (!id || !$("resolve-form").reportValidity()) return;
  const body = { outcome: contradicted() ? "acknowledged" : $("resolve-done").checked ? "done" : "refused", who: $("resolve-who").value.trim(), reason: $("resolve-reason").value.trim() };
  if (body.outcome === "done") {
    body.settlement_id = $("resolve-setl").value.trim();
    for (const name of amounts) body[name] = $(`resolve-${name}`).value.trim();
  }
  let after = null;
  const done = await run("resolve", $("resolve-submit"), async () => {
    after = await call("POST", `/v1/journal/${id}/resolve`, body);
  });
  if (!done || entry?.id !== id) return;
  opened = 0;
  changed(after);
  $("entry-title").focus();
  announce(t("resolve.recorded"));
}

// drawResolve shows the inquiry of the entry in the dialog, and what can be done;
// null when the dialog is closed.
export function drawResolve(now) {
  if (now?.id !== entry?.id) {
    forget("resolve");
    opened = 0;
    $("resolve-form").reset();
    $("resolve-who").value = `${model.state?.operator?.no ?? ""} ${model.state?.operator?.name ?? ""}`.trim();
  }
  entry = now;
  const inquiry = entry?.inquiry ?? null;
  show("entry-inquiry", Boolean(inquiry));
  show("entry-ask", undecided() && permitted());
  show("entry-decide", undecided() && permitted());
  const open = undecided() && permitted() && opened === entry.id;
  show("resolve-form", open);
  $("entry-decide").setAttribute("aria-expanded", String(open));
  if (!entry) return;
  const free = model.connected && !isBusy("resolve");
  for (const id of ["entry-ask", "entry-decide", "resolve-submit"]) usable(id, free);
  fill("inquiry-state", [inquiry, language()], () => !inquiry ? [] : [
    element("p", null, element("strong", null, say(inquiry.text)), inquiry.next ? ` ${t("inquiry.next", { time: moment(inquiry.next) })}` : ""),
    inquiry.todo ? element("p", { class: "problem" }, element("strong", null, t("inquiry.todo")), " ", say(inquiry.todo)) : null,
  ].filter(Boolean));
  fill("inquiry-attempts", [inquiry, language()], () => [...inquiry?.attempts ?? []].reverse().map(attempt));
  const acknowledging = contradicted();
  show("resolve-outcome", !acknowledging);
  const booked = !acknowledging && $("resolve-done").checked;
  show("resolve-booked", booked);
  for (const name of ["setl", ...amounts]) $(`resolve-${name}`).required = booked;
  $("resolve-done").required = $("resolve-refused").required = !acknowledging;
  setText("resolve-submit", acknowledging ? t("resolve.acknowledge") : t("resolve.submit"));
}

function attempt(each) {
  const asked = each.asked ?? [];
  return element("li", null, `${moment(each.time)} ${say(each.text)}`, each.by ? ` (${each.by})` : "",
    asked.length === 0 ? null : element("ul", null, ...asked.map((one) => element("li", null,
      [one.transaction, one.about, one.settlement_id, one.total ? shown(one.total) : ""].filter(Boolean).join(" "), ": ", say(one.text), one.fault ? ` ${one.fault.code}` : ""))));
}
