// The visit: registration, what is known of it, and the states in which it
// waits for the centre or for a person.

import { $, closeDialog, element, fill, openDialog, pair, setText, show, usable } from "./dom.js";
import { known, language, moment, named, say, t } from "./language.js";
import { announce, call, faultInto, forget, isBusy, run } from "./commands.js";
import { card, model, permits, reader, step, ticket, visit } from "./model.js";
import { shown } from "./money.js";
import { openEntry } from "./journal.js";

// The kinds of outpatient visit of the national dictionary (med_type) that a billing desk meets.
const kinds = ["11", "13", "14", "9901", "51", "1103"];

let redraw = () => {};

export function startVisit(draw) {
  redraw = draw;
  $("register").addEventListener("submit", (event) => {
    event.preventDefault();
    register();
  });
  $("abandon").addEventListener("click", () => {
    if ($("abandon").getAttribute("aria-disabled") !== "true") openDialog("abandon-dialog", "abandon-cancel");
  });
  $("abandon-cancel").addEventListener("click", () => closeDialog("abandon-dialog"));
  $("abandon-confirm").addEventListener("click", abandon);
  $("next-patient").addEventListener("click", nextPatient);
  $("kind").addEventListener("change", () => redraw());
  $("register-again").addEventListener("click", again);
  $("discharge").addEventListener("click", () => leave("discharge"));
  $("readmit").addEventListener("click", () => leave("readmit"));
  $("outcome-entry").addEventListener("click", () => {
    if (visit()?.journal) openEntry(visit().journal);
  });
}

export function drawVisit() {
  const now = visit();
  const at = step();
  drawSteps(at);
  drawRegister(now, at);
  drawFacts(now, at);
  drawOutcome(now, at);
  show("settling", at === "settling");
  setText("settling-heading", now?.undoing ? t("refunding.heading") : t("settling.heading"));
  const over = at === "settled" || at === "unknown";
  show("next-actions", over);
  usable("next-patient", permits("dismiss") && model.connected && !isBusy("visit"));
  show("visit-actions", Boolean(now) && !over && at !== "settling");
  show("opening", at === "opening");
  const abandonable = permits("abandon") || at === "opening";
  show("abandon", abandonable);
  usable("abandon", model.connected && !isBusy("visit"));
  if (!abandonable) closeDialog("abandon-dialog");
  show("register-again", permits("register"));
  usable("register-again", model.connected && !isBusy("visit"));
  for (const way of ["discharge", "readmit"]) {
    show(way, permits(way));
    usable(way, model.connected && !isBusy("visit"));
  }
}

// again registers a visit once more whose registration got no answer.
async function again() {
  const now = visit();
  if (!now || $("register-again").getAttribute("aria-disabled") === "true") return;
  const done = await run("visit", $("register-again"), () => call("POST", `/v1/visits/${encodeURIComponent(now.id)}/register`, {}, 180000));
  if (done) announce(t("visit.started"));
}

// leave ends a stay, so that it can be settled, or takes that back.
async function leave(way) {
  const now = visit();
  if (!now || $(way).getAttribute("aria-disabled") === "true") return;
  const done = await run("visit", $(way), () => call("POST", `/v1/visits/${encodeURIComponent(now.id)}/${way}`, {}, 180000));
  if (done) announce(way === "discharge" ? t("discharge.done") : t("readmit.done"));
}

function drawSteps(at) {
  const order = ["card", "register", "fees", "trial", "settle"];
  const reached = { ready: 1, opening: 1, fees: 2, tried: 3, settling: 4, unknown: 4, settled: 5 }[at] ?? 0;
  fill("steps", [at, language()], () => order.map((name, i) => element("li",
    { class: i < reached ? "past" : null, "aria-current": i === reached ? "step" : null },
    element("span", { class: "mark", "aria-hidden": "true" }, i < reached ? "✓" : i + 1), t(`step.${name}`),
    i < reached ? element("span", { class: "visually-hidden" }, t("step.done")) : null)));
}

function drawRegister(now, at) {
  const ready = !now && at === "ready";
  show("register", ready);
  if (!ready) {
    show("register-problem", false);
    return;
  }
  const usual = model.state.counter ?? {};
  fill("kind", [usual.kind, language()], () => [...new Set([usual.kind ?? "outpatient", "outpatient", "inpatient", "pharmacy"])].map((kind) => element("option", { value: kind }, t(`kind.${kind}`))));
  const stay = $("kind").value === "inpatient";
  show("bed-field", stay);
  show("begin-field", stay);
  fill("med-type", [kinds, usual.med_type, language()], () => [element("option", { value: "" }, usual.med_type?.code ? t("register.usual.named", { name: known(`med_type.${usual.med_type.code}`) ? t(`med_type.${usual.med_type.code}`) : say(usual.med_type) }) : t("register.usual")),
    ...kinds.map((kind) => element("option", { value: kind }, t(`med_type.${kind}`)))]);
  const hints = { "department-code": usual.department?.code, "department-name": usual.department?.name, "doctor-code": usual.doctor?.code, "doctor-name": usual.doctor?.name, "diagnosis-code-1": usual.diagnoses?.[0]?.code, "diagnosis-name-1": usual.diagnoses?.[0]?.name };
  for (const [id, hint] of Object.entries(hints)) $(id).placeholder = hint ?? "";
  const authenticated = card()?.authenticated === true;
  const hint = !authenticated ? t("register.blocked") : model.finished ? t("register.finished") : "";
  show("register-blocked", hint !== "");
  setText("register-blocked", hint);
  usable("start-visit", authenticated && model.connected && !isBusy("visit"));
}

const filled = (id) => $(id).value.normalize("NFKC").trim();

// both reads a code and its name: both or neither.
function both(code, name) {
  if (!filled(code) && !filled(name)) return undefined;
  if (!filled(code) || !filled(name)) throw filled(code) ? name : code;
  return { code: filled(code), name: filled(name) };
}

async function register() {
  if ($("start-visit").getAttribute("aria-disabled") === "true") return;
  const body = { reader: reader().id };
  try {
    if ($("kind").value !== (model.state.counter?.kind ?? "outpatient")) body.kind = $("kind").value;
    if ($("kind").value === "inpatient") {
      if (!filled("bed")) throw "bed";
      body.bed = filled("bed");
      body.begin = $("begin").value || undefined;
    }
    body.med_type = filled("med-type") || undefined;
    body.department = both("department-code", "department-name");
    body.doctor = both("doctor-code", "doctor-name");
    const diagnoses = [both("diagnosis-code-1", "diagnosis-name-1"), both("diagnosis-code-2", "diagnosis-name-2")].filter(Boolean);
    body.diagnoses = diagnoses.length > 0 ? diagnoses : undefined;
  } catch (missing) {
    if (typeof missing !== "string") throw missing;
    $("register-details").open = true;
    show("register-problem", true);
    setText("register-problem", missing === "bed" ? t("register.bed.problem") : t("register.problem"));
    $(missing).focus();
    return;
  }
  show("register-problem", false);
  const done = await run("visit", $("start-visit"), () => call("POST", "/v1/visits", body, 180000));
  if (!done) return;
  $("register").reset();
  $("register-details").open = false;
  announce(t("visit.started"));
}

function drawFacts(now, at) {
  show("visit-facts", Boolean(now) && at !== "settled");
  if (!now) return;
  const person = now.person ?? {};
  fill("visit-list", [now.id, now.mdtrt_id, now.filing, now.begin, now.discharged, now.bed, now.holder, person, now.med_type, now.department, now.doctor, now.diagnoses, language()], () => [
    pair(t("visit.holder"), say(now.holder?.name) || "—"),
    pair(t("visit.insurance"), [say(person.insutype), say(person.psn_type)].filter(Boolean).join(" · ") || "—"),
    pair(t("visit.balance"), person.balance === undefined || person.balance === null || person.balance === "" ? "—" : `${shown(person.balance)} ${t("yuan")}`),
    pair(t("visit.kind"), say(now.med_type) || "—"),
    now.kind === "inpatient" ? pair(t("visit.stay"), [moment(now.begin), now.discharged ? moment(now.discharged) : t("visit.stays"), now.bed].filter(Boolean).join(" · ")) : "",
    now.filing ? pair(t("visit.filing"), [t(known(`filing.${now.filing.grounds}`) ? `filing.${now.filing.grounds}` : "filing.notfiled"), [now.filing.begin, now.filing.end].filter(Boolean).join("–"), now.filing.fault ? `⚠ ${now.filing.fault.code} ${say(now.filing.fault.text)}` : ""].filter(Boolean).join(" · ")) : "",
    pair(t("visit.department"), named(now.department) || "—"),
    pair(t("visit.doctor"), named(now.doctor) || "—"),
    pair(t("visit.diagnoses"), (now.diagnoses ?? []).slice(0, 20).map(named).join("；") || "—"),
    pair(t("visit.number"), now.id),
  ].filter(Boolean));
}

// drawOutcome is the panel nobody may overlook: an unknown outcome, or sums that
// disagree.
function drawOutcome(now, at) {
  const kind = at === "unknown" ? (now.undoing ? "refund" : now.fault?.code === "OC-2203" ? "sums" : "unknown") : null;
  show("outcome", kind !== null);
  if (!kind) return;
  $("outcome").className = "outcome alarm";
  $("outcome").dataset.kind = kind;
  setText("outcome-heading", `⚠ ${t(`outcome.${kind}.heading`)}`);
  setText("outcome-lead", t(`outcome.${kind}.lead`));
  faultInto("outcome-fault", now.fault ?? null);
  const list = (prefix) => [1, 2, 3, 4].map((i) => element("li", null, t(`outcome.${kind}.${prefix}${i}`)));
  fill("outcome-do", [kind, language()], () => list("do"));
  fill("outcome-dont", [kind, language()], () => list("dont").slice(0, 3));
  fill("outcome-facts", [now.id, now.journal, now.mdtrt_id, now.opened, language()], () => [
    pair(t("entry.id"), now.journal ?? "—"),
    pair(t("visit.number"), now.id),
    pair(t("entry.mdtrt_id"), now.mdtrt_id ?? "—"),
    pair(t("entry.opened"), moment(now.opened)),
  ]);
  show("outcome-entry", Boolean(now.journal));
}

async function abandon() {
  const now = visit();
  closeDialog("abandon-dialog");
  if (!now) return;
  const done = await run("visit", $("abandon"), () => call("DELETE", `/v1/visits/${encodeURIComponent(now.id)}`));
  if (done) announce(t("abandon.done"));
}

// nextPatient puts a finished visit away. That undoes nothing: its entry stays
// in the journal.
async function nextPatient() {
  const now = visit();
  if (!now || $("next-patient").getAttribute("aria-disabled") === "true") return;
  const finished = card() ? ticket() : null;
  const done = await run("visit", $("next-patient"), async () => {
    await call("DELETE", `/v1/visits/${encodeURIComponent(now.id)}`);
    model.finished = finished;
    model.deleted = null;
    model.editing = null;
  });
  if (!done) return;
  forget("card");
  announce(t("next.announce"));
  redraw();
}
