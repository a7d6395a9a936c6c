// The counter page: start, views, the order of the focus, and the keys.

import { $, closeDialog, dialogOpen, isUsable, openDialog, setText, show } from "./dom.js";
import { language, loadLanguages, switchLanguage, t } from "./language.js";
import { connect } from "./connection.js";
import { drawFaults, isBusy, onCommand } from "./commands.js";
import { model, step } from "./model.js";
import { drawCard, startCard } from "./card.js";
import { drawRecords, startRecords } from "./records.js";
import { drawVisit, startVisit } from "./visit.js";
import { drawFees, startFees } from "./fees.js";
import { drawPaste, openPaste, startPaste } from "./paste.js";
import { drawTrial, startTrial } from "./trial.js";
import { drawReceipt, printReceipt, startReceipt } from "./receipt.js";
import { drawJournal, openJournal, startJournal } from "./journal.js";
import { drawRefund, startRefund } from "./refund.js";
import { drawWaiting, startWaiting } from "./waiting.js";
import { drawReconcile, openReconcile, startReconcile } from "./reconcile.js";
import { drawHealth } from "./health.js";

let last = "none";

function draw() {
  const body = document.body;
  body.dataset.connected = String(model.connected);
  show("connection", !model.connected && model.state !== null);
  show("loading", model.state === null);
  if (!model.state) return;
  const at = step();
  drawHealth();
  show("visit-view", model.view === "visit" && model.slip === null);
  for (const view of ["visit", "journal", "reconcile"]) $(`view-${view}`).setAttribute("aria-pressed", String(model.view === view));
  drawCard();
  drawRecords();
  drawVisit();
  drawFees();
  drawTrial();
  drawReceipt();
  drawRefund();
  drawWaiting();
  drawJournal();
  drawReconcile();
  if ($("paste-dialog").open) drawPaste();
  drawFaults();
  body.dataset.step = at;
  body.dataset.view = model.view;
  body.dataset.busy = String(isBusy("visit") || isBusy("card") || isBusy("journal") || isBusy("reconcile"));
  body.dataset.seq = String(model.state.seq);
  if (at !== last) {
    const before = last;
    last = at;
    moveFocus(at, before);
  }
}

// Where the next thing to do is. A step that came by itself takes the focus only
// from where it is of no more use; it never pulls it out of a field.
const targets = { waiting: "card-heading", reading: "card-heading", failed: "card-heading", ready: "start-visit", opening: "abandon", fees: "line-code", tried: "settle", settling: "settling-heading", settled: "print", unknown: "outcome-heading" };

function moveFocus(at, before) {
  if (model.view !== "visit" || model.slip !== null || dialogOpen()) return;
  const active = document.activeElement;
  const typing = active?.matches("input, select, textarea") && active.checkVisibility();
  const back = at === "fees" && before === "tried";
  if (typing && at !== "settled" && at !== "unknown" && at !== "tried") return;
  if (back && active?.checkVisibility() && active !== document.body) return;
  // The card of the last patient must not start a visit by a key pressed once too often.
  if (at === "ready" && model.finished) $("card-heading").focus();
  else $(targets[at])?.focus();
}

function view(wanted) {
  model.slip = null;
  model.view = wanted;
  draw();
  if (wanted === "journal") {
    $("journal-heading").focus();
    openJournal();
  } else if (wanted === "reconcile") {
    $("reconcile-heading").focus();
    openReconcile();
  } else $(targets[step()])?.focus();
}

function press(...ids) {
  const button = ids.map($).find((each) => isUsable(each));
  if (button && model.view === "visit") {
    button.focus();
    button.click();
  }
}

function focusLine() {
  if (model.view !== "visit") view("visit");
  if ($("line-code").checkVisibility()) $("line-code").focus();
}

const keys = {
  F1: () => openDialog("help-dialog", "help-close"),
  F2: focusLine,
  F4: () => openPaste(""),
  F8: () => press("settle", "run-trial", "start-visit", "next-patient"),
  F9: printReceipt,
};

const altKeys = {
  KeyP: () => press("ask-pin"),
  KeyI: () => press("reveal"),
  KeyJ: () => view(model.view === "journal" ? "visit" : "journal"),
  KeyR: () => view(model.view === "reconcile" ? "visit" : "reconcile"),
  KeyL: changeLanguage,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.isComposing) return;
  const action = event.altKey ? altKeys[event.code] : keys[event.key];
  if (!action) return;
  event.preventDefault();
  if (event.repeat || dialogOpen() || !model.state) return;
  action();
}

function nameLanguages() {
  const other = language() === "zh" ? "en" : "zh";
  setText("language", other === "en" ? "English" : "中文");
  $("language").lang = other === "en" ? "en" : "zh-CN";
}

function changeLanguage() {
  switchLanguage();
  nameLanguages();
  draw();
}

async function start() {
  // The sentences come from the same service as the state; while it is starting they are not there yet.
  for (let wait = 250; ; wait = Math.min(wait * 2, 5000)) {
    try {
      await loadLanguages();
      break;
    } catch {
      await new Promise((done) => { setTimeout(done, wait); });
    }
  }
  nameLanguages();
  document.title = t("page.title");
  onCommand(draw);
  for (const startPart of [startCard, startRecords, startVisit, startFees, startPaste, startTrial, startReceipt, startRefund, startWaiting, startJournal, startReconcile]) startPart(draw);
  $("view-visit").addEventListener("click", () => view("visit"));
  $("view-journal").addEventListener("click", () => view("journal"));
  $("view-reconcile").addEventListener("click", () => view("reconcile"));
  $("language").addEventListener("click", changeLanguage);
  $("help").addEventListener("click", () => openDialog("help-dialog", "help-close"));
  $("help-close").addEventListener("click", () => closeDialog("help-dialog"));
  document.addEventListener("keydown", onKey);
  connect(draw);
}

start();
