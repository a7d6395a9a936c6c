// The receipt: on the screen, and on paper from 80 mm wide.

import { $, element, fill, pair, show, usable } from "./dom.js";
import { language, moment, say, t } from "./language.js";
import { inWords, shown, unitPrice, withSign } from "./money.js";
import { model, visit } from "./model.js";
import { mostLines } from "./fees.js";

export function startReceipt() {
  $("print").addEventListener("click", printReceipt);
}

export function printReceipt() {
  if ($("print").checkVisibility() || $("slip-print").checkVisibility()) window.print();
}

export function drawReceipt() {
  const now = visit();
  const receipt = now?.state === "settled" ? now.receipt ?? null : null;
  show("receipt", receipt !== null);
  show("receipt-actions", receipt !== null);
  usable("print", receipt !== null);
  fill("receipt", [receipt, now?.id, now?.department, model.state.simulated, language()], () => receipt ? paper(now, receipt) : []);
}

function paper(now, receipt) {
  const lines = receipt.lines ?? now.lines ?? [];
  return [
    element("header", null,
      element("p", { class: "receipt-place" }, say(receipt.institution?.name) || "—"),
      element("h3", { id: "receipt-heading", tabindex: "-1" }, t("receipt.heading")),
      model.state.simulated ? element("p", { class: "receipt-mark" }, t("receipt.simulated")) : null,
      receipt.differs ? element("p", { class: "problem strong", id: "receipt-differs" }, `⚠ ${t("receipt.differs")}`) : null,
      receipt.warning ? element("p", { class: "problem" }, receipt.warning) : null),
    element("dl", { class: "facts" },
      pair(t("receipt.holder"), say(receipt.holder?.name ?? now.holder?.name) || "—"),
      pair(t("receipt.time"), moment(receipt.time)),
      pair(t("receipt.settlement"), element("span", { id: "settlement-id", class: "digits" }, receipt.settlement_id ?? "—")),
      pair(t("visit.number"), now.id),
      now.department ? pair(t("visit.department"), say(now.department.name)) : "",
      pair(t("place.operator"), [receipt.operator?.no, receipt.operator?.name].filter(Boolean).join(" ") || "—")),
    element("table", null,
      element("thead", null, element("tr", null, element("th", { scope: "col" }, t("line.name")), element("th", { scope: "col", class: "n" }, t("line.quantity")), element("th", { scope: "col", class: "n" }, t("line.price")), element("th", { scope: "col", class: "n" }, t("line.amount")))),
      element("tbody", null, ...lines.slice(0, mostLines).map((line) => element("tr", null, element("td", null, line.name), element("td", { class: "n" }, line.quantity), element("td", { class: "n" }, unitPrice(line.price)), element("td", { class: "n" }, shown(line.amount)))))),
    lines.length > mostLines ? element("p", null, t("lines.more", { n: lines.length - mostLines })) : "",
    element("dl", { class: "money" },
      pair(t("trial.total"), withSign(receipt.total), "total"),
      pair(t("trial.fund"), withSign(receipt.fund)),
      pair(t("trial.account"), withSign(receipt.account)),
      /^0*(\.0*)?$/.test(receipt.hospital ?? "") ? "" : pair(t("trial.hospital"), withSign(receipt.hospital)),
      pair(t("receipt.cash"), element("strong", { id: "receipt-cash" }, withSign(receipt.cash)), "cash"),
      language() === "zh" ? pair(t("receipt.words"), inWords(receipt.cash)) : "",
      receipt.balance === undefined || receipt.balance === null || receipt.balance === "" ? "" : pair(t("receipt.balance"), withSign(receipt.balance))),
    element("p", { class: "receipt-foot" }, `${t("entry.msgid")} ${receipt.msgid ?? "—"}`),
  ].filter(Boolean);
}
