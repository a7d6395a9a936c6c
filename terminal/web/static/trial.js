// The trial in plain words, and the one confirmation before a settlement.

import { $, closeDialog, element, fill, openDialog, pair, setText, show, svg, usable } from "./dom.js";
import { language, t } from "./language.js";
import { call, isBusy, run } from "./commands.js";
import { inWords, parseFen, withSign } from "./money.js";
import { model, permits, step, visit } from "./model.js";
import { sums } from "./fees.js";

let asked = null; // {visit, total, cash}: what the open confirmation speaks of

export function startTrial() {
  $("run-trial").addEventListener("click", runTrial);
  $("settle").addEventListener("click", confirm);
  $("settle-cancel").addEventListener("click", () => closeDialog("settle-dialog"));
  $("settle-dialog").addEventListener("close", () => {
    if (!$("settle-dialog").open) asked = null; // the event comes late: it may be open again
  });
  // Enter that is still held down from opening the dialog must not confirm it.
  $("settle-dialog").addEventListener("keydown", (event) => {
    if (event.repeat) event.preventDefault();
  });
  $("settle-confirm").addEventListener("click", settle);
}

// sound tells whether a trial's shares make up its total and the visit's.
function sound(now) {
  const parts = ["fund", "account", "cash"].map((part) => parseFen(now.trial[part]));
  const total = parseFen(now.trial.total);
  const hospital = parseFen(now.trial.hospital) ?? 0n;
  if (total === null || parts.includes(null)) return false;
  return parts.reduce((sum, part) => sum + part, hospital) === total && total === parseFen(now.total);
}

export function drawTrial() {
  const now = visit();
  const at = step();
  const trial = now?.trial ?? null;
  show("trial", trial !== null && at === "tried");
  const agree = now !== null && sums(now).agree;
  const free = model.connected && !isBusy("visit");
  show("run-trial", permits("trial"));
  usable("run-trial", free && agree && (now?.lines ?? []).length > 0);
  setText("run-trial-text", t(trial === null ? "trial.run" : "trial.again"));
  show("run-trial-key", !permits("settle"));
  $("run-trial").classList.toggle("primary", !permits("settle"));
  const ready = trial !== null && sound(now) && agree;
  show("settle", permits("settle"));
  usable("settle", free && ready);
  if (asked && (asked.visit !== now?.id || asked.total !== trial?.total || asked.cash !== trial?.cash || !permits("settle"))) closeDialog("settle-dialog");
  if (!trial) return;
  const hospital = (parseFen(trial.hospital) ?? 0n) !== 0n;
  fill("trial-split", [trial, language()], () => [
    pair(t("trial.total"), withSign(trial.total), "total"),
    pair(`− ${t("trial.fund")}`, withSign(trial.fund), "fund"),
    pair(`− ${t("trial.account")}`, withSign(trial.account), "account"),
    hospital ? pair(`− ${t("trial.hospital")}`, withSign(trial.hospital), "hospital") : "",
  ].filter(Boolean));
  setText("trial-cash", withSign(trial.cash));
  setText("trial-cash-words", language() === "zh" ? inWords(trial.cash) : "");
  bar(trial);
  fill("trial-why", [trial, language()], () => reasons(trial));
  show("trial-warning", !sound(now));
  setText("trial-warning", sound(now) ? "" : `⚠ ${t("trial.unsound")}`);
}

// bar draws the shares of the total. It repeats what the list says.
function bar(trial) {
  const total = parseFen(trial.total) ?? 0n;
  fill("trial-bar", trial, () => {
    let x = 0;
    return ["fund", "account", "hospital", "cash"].map((part) => {
      const share = parseFen(trial[part]) ?? 0n;
      const width = total > 0n && share > 0n ? Number(share * 1000n / total) : 0;
      const drawn = svg("rect", { x, y: 0, width: Math.max(0, width - 3), height: 24, class: `share-${part}` });
      x += width;
      return drawn;
    });
  });
}

function reasons(trial) {
  const some = (part) => (parseFen(trial[part]) ?? 0n) !== 0n;
  const reason = (part) => element("li", { class: `why-${part}` }, element("span", { class: "why-amount digits" }, withSign(trial[part])), element("span", null, element("strong", null, t(`split.${part}`)), " ", t(`why.${part}`)));
  return ["full_self_pay", "over_limit", "pre_self_pay", "in_scope", "deductible"].filter((part) => part === "in_scope" || some(part)).map(reason);
}

async function runTrial() {
  if ($("run-trial").getAttribute("aria-disabled") === "true") return;
  const now = visit();
  model.deleted = null;
  await run("visit", $("run-trial"), () => call("POST", `/v1/visits/${encodeURIComponent(now.id)}/trial`, {}, 180000));
}

function confirm() {
  if ($("settle").getAttribute("aria-disabled") === "true") return;
  const now = visit();
  const trial = now.trial;
  asked = { visit: now.id, total: trial.total, cash: trial.cash };
  setText("settle-amount", withSign(trial.cash));
  setText("settle-words", language() === "zh" ? inWords(trial.cash) : "");
  fill("settle-split", [trial, language()], () => [
    pair(t("trial.total"), withSign(trial.total)),
    pair(t("trial.fund"), withSign(trial.fund)),
    pair(t("trial.account"), withSign(trial.account)),
  ]);
  setText("settle-confirm", t("settle.confirm", { amount: withSign(trial.cash) }));
  openDialog("settle-dialog", "settle-confirm");
}

async function settle() {
  if (!asked || isBusy("visit") || !model.connected) return;
  const agreed = asked;
  closeDialog("settle-dialog");
  // The journal, not this answer, is the truth: the screen shows what the state says.
  await run("visit", $("settle"), () => call("POST", `/v1/visits/${encodeURIComponent(agreed.visit)}/settle`, { agreed: { total: agreed.total, cash: agreed.cash } }, 300000));
}

