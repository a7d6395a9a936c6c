// The journal of a day. It shows what the service wrote down; settlements with
// an unknown outcome come first.

import { $, closeDialog, element, fill, openDialog, pair, setText, show, usable } from "./dom.js";
import { language, moment, say, t, known } from "./language.js";
import { Failure, call, faultInto, isBusy, run } from "./commands.js";
import { shown } from "./money.js";
import { model } from "./model.js";
import { drawResolve, startResolve } from "./resolve.js";
import { confirm, refundable } from "./refund.js";

const most = 200;
const signs = { done: "✓", refused: "✕", unknown: "⚠", intended: "…" };

let redraw = () => {};
let page = null; // the journal as last fetched
let entry = null; // the entry in the dialog
let again = false; // something else was chosen while the journal was on its way
let seen = ""; // the counters for which page was fetched
let asked = ""; // what was known of the doubts when entry was fetched

export function startJournal(draw) {
  redraw = draw;
  $("journal-form").addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  $("journal-outcome").addEventListener("change", load);
  $("journal-day").addEventListener("change", load);
  $("journal-body").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-entry]");
    if (button) openEntry(Number(button.dataset.entry));
  });
  $("entry-close").addEventListener("click", () => closeDialog("entry-dialog"));
  $("entry-refund").addEventListener("click", () => {
    const settlement = { ...entry, entry: entry.id };
    closeDialog("entry-dialog");
    confirm(settlement);
  });
  $("entry-dialog").addEventListener("close", () => {
    entry = null;
    drawResolve(null);
  });
  startResolve((after) => {
    entry = after;
    drawEntry();
    load();
  });
}

export async function openJournal() {
  if (!$("journal-day").value) $("journal-day").value = model.state.journal?.day ?? (model.state.time ?? "").slice(0, 10);
  await load();
}

async function load() {
  if (isBusy("journal")) {
    again = true; // with what is chosen then
    return;
  }
  again = false;
  seen = counters();
  await run("journal", $("journal-refresh"), async () => {
    const asked = new URLSearchParams({ limit: String(most) });
    if ($("journal-day").value) asked.set("day", $("journal-day").value);
    const outcome = $("journal-outcome").value;
    if (outcome) asked.set("outcome", outcome);
    const answer = await call("GET", `/v1/journal?${asked}`);
    let entries = answer.entries ?? [];
    if (!outcome && unresolved() > 0) {
      // Nothing unknown may hide behind the end of the list or an earlier day.
      asked.set("outcome", "unknown");
      asked.set("day", "all");
      const unknown = (await call("GET", `/v1/journal?${asked}`)).entries ?? [];
      entries = [...unknown, ...entries.filter((each) => each.outcome !== "unknown")];
    }
    page = { ...answer, entries };
  });
  if (again) await load();
}

// unresolved counts the settlements of any day whose outcome is unknown.
const unresolved = () => model.state?.journal?.unknown_total ?? 0;

const counters = () => JSON.stringify(model.state?.journal ?? null);

const doubts = () => JSON.stringify(model.state?.unknown ?? null);

// follow fetches an entry in doubt again: something was found out about one.
async function follow() {
  asked = doubts();
  const id = entry.id;
  try {
    const now = await call("GET", `/v1/journal/${id}`);
    if (entry?.id !== id) return;
    entry = now;
    drawEntry();
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    asked = ""; // with the next change of the state
  }
}

export function drawJournal() {
  const unknown = unresolved();
  show("unknown-count", unknown > 0);
  setText("unknown-count", unknown > 0 ? t("journal.count", { n: unknown }) : "");
  const open = model.view === "journal";
  show("journal-view", open);
  if (entry) drawEntry();
  if (entry?.outcome === "unknown" && model.connected && asked !== doubts()) follow();
  if (!open) return;
  if (model.connected && !isBusy("journal") && seen !== counters()) {
    load();
    return;
  }
  usable("journal-refresh", model.connected && !isBusy("journal"));
  const totals = page?.totals ?? {};
  show("journal-unknown", unknown > 0);
  setText("journal-unknown", unknown > 0 ? `⚠ ${t("journal.unknown", { n: unknown })}` : "");
  fill("journal-totals", [totals, language()], () => page ? [
    pair(t("outcome.done"), totals.done ?? 0), pair(t("outcome.refused"), totals.refused ?? 0), pair(t("outcome.unknown"), totals.unknown ?? 0, totals.unknown > 0 ? "alarm" : null),
    pair(t("entry.total"), shown(totals.total)), pair(t("entry.fund"), shown(totals.fund)), pair(t("entry.account"), shown(totals.account)), pair(t("entry.cash"), shown(totals.cash), "cash"),
  ] : []);
  const rank = (each) => each.outcome === "unknown" ? 0 : each.outcome === "intended" ? 1 : 2;
  const entries = [...page?.entries ?? []].sort((a, b) => rank(a) - rank(b) || b.id - a.id).slice(0, 2 * most);
  fill("journal-body", [entries, language()], () => entries.map(row));
  show("journal", entries.length > 0);
  show("journal-empty", page !== null && (entries.length === 0 || entries.length >= most));
  setText("journal-empty", entries.length === 0 ? t("journal.empty") : t("journal.bounded", { n: most }));
}

function outcome(each) {
  let words = t(known(`outcome.${each.outcome}`) ? `outcome.${each.outcome}` : "outcome.unknown");
  if (each.outcome === "done" && each.undoes) words = t("outcome.refund");
  if (each.outcome === "done" && each.reversed_by) words = t("outcome.refunded");
  return `${signs[each.outcome] ?? "?"} ${words}`;
}

function row(each) {
  return element("tr", { class: each.outcome === "unknown" ? "unknown" : null, "data-outcome": each.outcome },
    element("td", { class: "n" }, each.id),
    element("td", null, moment(each.opened)),
    element("th", { scope: "row" }, outcome(each), each.fault ? element("span", { class: "line-split" }, each.fault.code) : null),
    element("td", null, each.holder ?? "—"),
    element("td", { class: "n" }, shown(each.total)),
    element("td", { class: "n" }, shown(each.fund)),
    element("td", { class: "n" }, shown(each.account)),
    element("td", { class: "n" }, shown(each.cash)),
    element("td", { class: "tools" }, element("button", { type: "button", class: "quiet", id: `entry-${each.id}`, "data-entry": each.id, "aria-label": t("entry.open.label", { n: each.id }) }, t("entry.open"))));
}

// openEntry shows everything about one entry.
export async function openEntry(id) {
  const done = await run("journal", null, async () => {
    asked = doubts();
    entry = await call("GET", `/v1/journal/${id}`);
  });
  if (!done) {
    // The reason stands in the journal.
    model.view = "journal";
    redraw();
    return;
  }
  drawEntry();
  openDialog("entry-dialog", "entry-title");
}

function drawEntry() {
  setText("entry-title", t("entry.title", { n: entry.id }));
  fill("entry-facts", [entry, language()], () => [
    pair(t("entry.outcome"), outcome(entry)), pair(t("entry.opened"), moment(entry.opened)), pair(t("entry.closed"), moment(entry.closed) || "—"), pair(t("entry.holder"), entry.holder || "—"),
    pair(t("entry.total"), shown(entry.total)), pair(t("entry.fund"), shown(entry.fund)), pair(t("entry.account"), shown(entry.account)), pair(t("entry.cash"), shown(entry.cash)),
    pair(t("visit.number"), entry.visit || "—"), pair(t("entry.transaction"), entry.transaction || "—"), pair(t("entry.msgid"), entry.msgid || "—"), pair(t("entry.mdtrt_id"), entry.mdtrt_id || "—"), pair(t("receipt.settlement"), say(entry.settlement_id) || "—"),
    entry.undoes ? pair(t("entry.undoes"), entry.undoes) : "",
    entry.reversed_by ? pair(t("entry.reversed_by"), entry.reversed_by) : "",
  ].filter(Boolean));
  faultInto("entry-fault", entry.fault ?? null);
  show("entry-refund", refundable(entry));
  drawResolve(entry);
}
