// Taking a settlement back: the one confirmation before it, and the slip that
// says what went back to whom. The service takes back the whole; who is to get
// only a part back is settled again afterwards with the lines that stay.

import { $, closeDialog, element, fill, isUsable, openDialog, pair, setText, show, usable } from "./dom.js";
import { language, moment, say, t } from "./language.js";
import { announce, call, isBusy, run } from "./commands.js";
import { inWords, parseFen, withSign } from "./money.js";
import { model, permits, visit } from "./model.js";

const settlements = ["2207", "2304", "2102"];
const patience = 300000;

let redraw = () => {};
let asked = null; // {entry, visit, total, fund, account, cash}: what the open confirmation speaks of

export function startRefund(draw) {
  redraw = draw;
  $("refund").addEventListener("click", () => {
    const now = visit();
    if (isUsable($("refund")) && now?.receipt) confirm({ ...now.receipt, entry: now.journal, visit: now.id });
  });
  $("refund-cancel").addEventListener("click", () => closeDialog("refund-dialog"));
  $("refund-dialog").addEventListener("close", () => {
    if (!$("refund-dialog").open) asked = null; // the event comes late: it may be open again
  });
  // Enter that is still held down from opening the dialog must not confirm it.
  $("refund-dialog").addEventListener("keydown", (event) => {
    if (event.repeat && event.key === "Enter") event.preventDefault();
  });
  $("refund-form").addEventListener("submit", (event) => {
    event.preventDefault();
    refund();
  });
  $("slips").addEventListener("click", () => {
    const list = visit()?.refunds ?? [];
    if (list.length > 0) openSlip(list.at(-1));
  });
  $("slip-print").addEventListener("click", () => window.print());
  $("slip-close").addEventListener("click", closeSlip);
}

const permitted = () => (model.state?.rights ?? ["refund"]).includes("refund");

// refundable tells whether an entry of the journal is a settlement that stands.
export const refundable = (entry) => permitted() && entry?.outcome === "done" && settlements.includes(entry.transaction) && !entry.reversed_by && !entry.undoes;

export function drawRefund() {
  const now = visit();
  show("refund", permits("refund") && permitted());
  usable("refund", model.connected && !isBusy("visit"));
  const slips = now?.refunds ?? [];
  show("slips-line", slips.length > 0);
  setText("slips", t("slip.open", { n: slips.length }));
  if (asked && (!model.connected || asked.visit === now?.id && !permits("refund"))) closeDialog("refund-dialog");
  const slip = model.slip;
  show("slip-view", slip !== null);
  document.body.dataset.slip = String(slip !== null);
  fill("slip", [slip, model.state.simulated, language()], () => slip ? paper(slip) : []);
}

// confirm asks whether all of a settlement is to be taken back.
export function confirm(settlement) {
  asked = settlement;
  setText("refund-amount", withSign(settlement.cash));
  setText("refund-words", language() === "zh" ? inWords(settlement.cash) : "");
  fill("refund-split", [settlement, language()], () => [
    pair(t("visit.number"), settlement.visit),
    pair(t("entry.id"), settlement.entry),
    pair(t("trial.total"), withSign(settlement.total)),
    pair(t("slip.fund"), withSign(settlement.fund)),
    pair(t("slip.account"), withSign(settlement.account)),
  ]);
  $("refund-reason").value = "";
  openDialog("refund-dialog", "refund-reason");
}

async function refund() {
  if (!asked || isBusy("visit") || !model.connected) return;
  const { entry } = asked;
  const body = { reason: $("refund-reason").value.trim() || undefined };
  closeDialog("refund-dialog");
  let slip = null;
  // What became of it the journal says; where that is in doubt the visit says so.
  const done = await run("visit", $("refund"), async () => {
    slip = await call("POST", `/v1/journal/${entry}/refund`, body, patience);
  });
  if (!done) {
    model.view = "visit"; // the reason stands there
    redraw();
    return;
  }
  announce(t("slip.done"));
  openSlip(slip);
}

function openSlip(slip) {
  model.slip = slip;
  model.view = "visit";
  redraw();
  $("slip-heading").focus();
}

function closeSlip() {
  model.slip = null;
  redraw();
  $("visit-heading").focus();
}

// goesBack is an amount of a refund, which is negative, as what goes back to somebody.
function goesBack(yuan) {
  if (typeof yuan !== "string" || !/[1-9]/.test(yuan)) return yuan;
  return yuan.startsWith("-") ? yuan.slice(1) : `-${yuan}`;
}

function paper(slip) {
  const opposite = parseFen(slip.cash) === null ? slip.cash : -parseFen(slip.cash);
  return [
    element("header", null,
      element("p", { class: "receipt-place" }, say(slip.institution?.name) || "—"),
      element("h3", { id: "slip-heading", tabindex: "-1" }, t("slip.heading")),
      model.state.simulated ? element("p", { class: "receipt-mark" }, t("receipt.simulated")) : null,
      slip.warning ? element("p", { class: "problem" }, slip.warning) : null),
    element("dl", { class: "facts" },
      pair(t("receipt.holder"), say(slip.holder?.name) || "—"),
      pair(t("slip.time"), moment(slip.time)),
      pair(t("slip.number"), element("span", { class: "digits" }, slip.settlement_id ?? "—")),
      pair(t("slip.of"), element("span", { class: "digits" }, slip.refunded_id ?? "—")),
      pair(t("visit.number"), slip.visit),
      slip.reason ? pair(t("refund.reason"), slip.reason) : "",
      pair(t("place.operator"), [slip.operator?.no, slip.operator?.name].filter(Boolean).join(" ") || "—")),
    element("dl", { class: "money" },
      pair(t("trial.total"), withSign(slip.total), "total"),
      pair(t("slip.fund"), withSign(goesBack(slip.fund))),
      pair(t("slip.account"), withSign(goesBack(slip.account))),
      pair(t("slip.cash"), element("strong", { id: "slip-cash" }, withSign(goesBack(slip.cash))), "cash"),
      language() === "zh" ? pair(t("slip.words"), inWords(opposite)) : ""),
    element("p", { class: "receipt-foot" }, `${t("entry.msgid")} ${slip.msgid ?? "—"}`),
  ].filter(Boolean);
}
