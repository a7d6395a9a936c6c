// The left side of the desk: the reader, the card in it, its holder and the PIN.

import { $, element, fill, pair, setText, show, usable } from "./dom.js";
import { day, language, say, t, known } from "./language.js";
import { announce, call, faultInto, isBusy, run } from "./commands.js";
import { card, model, reader, same, ticket } from "./model.js";

const revealFor = 20000;

let redraw = () => {};

export function startCard(draw) {
  redraw = draw;
  $("reader").addEventListener("change", (event) => {
    model.reader = event.target.value;
    redraw();
  });
  $("reveal").addEventListener("click", reveal);
  $("ask-pin").addEventListener("click", askPIN);
  // A page that nobody sees shows nothing personal.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && model.reveal) hide();
  });
}

export function drawCard() {
  const at = reader();
  const now = card();
  const readers = model.state.readers ?? [];
  show("reader-choice", readers.length > 1);
  fill("reader", [readers.map((each) => [each.id, each.name]), at?.id], () => readers.slice(0, 32).map((each) => element("option", { value: each.id, selected: each.id === at?.id }, each.name)));
  setText("reader-line", at ? `${say(at.name)} · ${t(known(`reader.${at.state}`) ? `reader.${at.state}` : "reader.failed")}` : t("reader.none"));

  if (model.reveal && !same(model.reveal)) hide();
  if (model.finished && !same(model.finished)) model.finished = null;
  const state = now ? "ready" : at?.state ?? "none";
  show("card-wait", !now);
  if (!now) {
    setText("card-instruction", t(known(`wait.${state}`) ? `wait.${state}` : "wait.empty"));
    setText("card-instruction-more", t(known(`wait.${state}.more`) ? `wait.${state}.more` : "wait.empty.more"));
    show("card-progress", state === "reading");
  }
  $("card-wait").dataset.state = state;
  faultInto("reader-fault", at?.fault ?? null);
  show("card-facts", Boolean(now));
  if (!now) {
    // Hidden is not gone: nothing of the last holder stays in the page.
    for (const id of ["holder-name", "holder-number", "holder-more"]) setText(id, "");
    fill("card-list", null, () => []);
    return;
  }
  drawHolder(now);
  drawAuthentication(now);
  fill("card-list", [now, language(), model.state.time?.slice(0, 10)], () => [
    pair(t("card.version"), [now.version, now.algorithm].filter(Boolean).join(" · ")),
    pair(t("card.number"), now.number ?? "—"),
    pair(t("card.area"), now.area ?? "—"),
    pair(t("card.validity"), validity(now)),
    pair(t("card.read"), t("card.read.value", { n: now.commands ?? "—", ms: Number.isFinite(now.milliseconds) ? Math.round(now.milliseconds) : "—" }), "soft"),
  ]);
  drawPIN(at, now);
}

function validity(now) {
  if (!now.issued && !now.expires) return t("card.validity.unset");
  const term = t("card.validity.value", { from: day(now.issued) || "—", to: day(now.expires) || t("card.validity.open") });
  const today = (model.state.time ?? "").slice(0, 10);
  return now.expires && today && now.expires < today ? `${term} — ${t("card.expired")}` : term;
}

function drawHolder(now) {
  const shown = model.reveal?.identity.holder;
  const holder = now.holder ?? {};
  setText("holder-name", say(shown?.name ?? holder.name) || "—");
  setText("holder-number", say(shown?.social_security_number ?? holder.social_security_number) || "—");
  setText("holder-more", [say(shown?.sex_text ?? shown?.sex ?? holder.sex), shown?.birth_date ? day(say(shown.birth_date)) : say(holder.birth_date)].filter(Boolean).join(" · "));
  setText("reveal", t(shown ? "reveal.hide" : "reveal.show"));
  $("reveal").setAttribute("aria-pressed", String(Boolean(shown)));
  setText("reveal-time", shown ? t("reveal.time") : "");
  usable("reveal", model.connected && !isBusy("card"));
}

function drawAuthentication(now) {
  const badge = $("card-authenticated");
  badge.className = `badge ${now.authenticated ? "good" : "bad"}`;
  setText("card-authenticated", now.authenticated ? `✓ ${t("card.authenticated")}` : `✕ ${t("card.not_authenticated")}`);
  faultInto("auth-fault", now.authenticated ? null : now.auth_fault ?? null);
}

function drawPIN(at, now) {
  const pin = now.pin ?? {};
  const waiting = pin.phase === "waiting";
  const tries = Number.isInteger(pin.tries_left) ? pin.tries_left : null;
  const simulated = at.pinpad === "simulated";
  setText("pin-state", pin.verified ? `✓ ${t("pin.verified")}${pin.initial ? ` ${t("pin.initial")}` : ""}` : tries === 0 ? `✕ ${t("pin.blocked")}` : `${t("pin.open")}${tries === null ? "" : ` ${t("pin.tries", { n: tries })}`}`);
  $("pin-state").className = pin.verified ? "good-text" : tries !== null && tries <= 2 ? "bad-text" : "";
  $("pin-state").dataset.verified = String(pin.verified === true);
  show("pin-waiting", waiting);
  setText("pin-waiting", waiting ? `${t("pin.look")}${simulated ? ` ${t("pin.simulated")}` : ""}` : "");
  usable("ask-pin", model.connected && at.pinpad !== "none" && !waiting && !pin.verified && tries !== 0 && !isBusy("card"));
  setText("ask-pin", t(at.pinpad === "none" ? "pin.nopad" : simulated ? "pin.ask.simulated" : "pin.ask"));
}

async function reveal() {
  if ($("reveal").getAttribute("aria-disabled") === "true") return;
  if (model.reveal) {
    hide();
    redraw();
    return;
  }
  const asked = ticket();
  await run("card", $("reveal"), async () => {
    const identity = await call("GET", `/v1/readers/${encodeURIComponent(asked.reader)}/identity`);
    // The card may have been changed for another while the answer was on its way.
    if (!same(asked) || document.hidden) return;
    model.reveal = { ...asked, identity: { holder: identity.holder ?? {} }, timer: setTimeout(() => {
      hide();
      redraw();
    }, revealFor) };
    announce(t("reveal.shown"));
  });
}

function hide() {
  clearTimeout(model.reveal?.timer);
  model.reveal = null;
}

async function askPIN() {
  if ($("ask-pin").getAttribute("aria-disabled") === "true") return;
  const at = reader().id;
  const done = await run("card", $("ask-pin"), () => call("POST", `/v1/readers/${encodeURIComponent(at)}/pin/verify`, {}, 90000));
  if (done) announce(t("pin.verified"));
}
