// The comparison of a day or month with the centre's books: totals, what
// differs, and what an authorised person has done about it.

import { $, closeDialog, element, fill, openDialog, setText, show, usable } from "./dom.js";
import { language, moment, say, t } from "./language.js";
import { call, isBusy, run } from "./commands.js";
import { shown } from "./money.js";
import { model } from "./model.js";

// Comparing asks the centre many things, one after the other.
const patience = 170000;

let report = null; // as last fetched
let row = null; // the difference in the dialog
let seen = ""; // what was published when the report was fetched

export function startReconcile() {
  $("reconcile-form").addEventListener("submit", (event) => {
    event.preventDefault();
    compare();
  });
  $("reconcile-kind").addEventListener("change", () => {
    drawReconcile();
    load();
  });
  $("reconcile-day").addEventListener("change", load);
  $("reconcile-month").addEventListener("change", load);
  $("reconcile-print").addEventListener("click", () => globalThis.print());
  $("reconcile-body").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-n]");
    if (button && button.getAttribute("aria-disabled") !== "true") openRow(Number(button.dataset.n));
  });
  $("reconcile-days").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-day]");
    if (!button) return;
    const month = button.dataset.day.length === 7;
    $("reconcile-kind").value = month ? "month" : "day";
    $(month ? "reconcile-month" : "reconcile-day").value = button.dataset.day;
    drawReconcile();
    load();
  });
  $("reconcile-cancel").addEventListener("click", () => closeDialog("reconcile-dialog"));
  $("reconcile-action").addEventListener("change", drawRow);
  $("reconcile-execute").addEventListener("submit", (event) => {
    event.preventDefault();
    execute();
  });
  $("reconcile-dialog").addEventListener("close", () => { row = null; });
}

export async function openReconcile() {
  if (!$("reconcile-day").value) {
    const today = model.state.journal?.day || (model.state.time ?? "").slice(0, 10);
    const before = new Date(`${today}T00:00:00Z`);
    before.setUTCDate(before.getUTCDate() - 1);
    const yesterday = Number.isNaN(before.getTime()) ? "" : before.toISOString().slice(0, 10);
    $("reconcile-day").value = model.state.books?.unbalanced?.find((each) => each.length === 10) ?? yesterday;
    $("reconcile-month").value = yesterday.slice(0, 7);
  }
  await load();
}

const months = () => $("reconcile-kind").value === "month";
const period = () => months() ? $("reconcile-month").value : $("reconcile-day").value;
const query = () => `${months() ? "month" : "day"}=${encodeURIComponent(period())}`;
const published = () => JSON.stringify(model.state?.books ?? null);

async function load() {
  if (!period() || isBusy("reconcile")) return;
  seen = published();
  await run("reconcile", null, async () => {
    report = await call("GET", `/v1/reconciliation?${query()}`);
  });
}

async function compare() {
  if (!period()) return;
  await run("reconcile", $("reconcile-run"), async () => {
    report = await call("POST", "/v1/reconciliation", { period: period() }, patience);
  });
  seen = published();
}

function openRow(n) {
  row = report?.differences?.find((each) => each.n === n) ?? null;
  if (!row) return;
  $("reconcile-reason").value = "";
  $("reconcile-area").value = "";
  fill("reconcile-action", [row.n, report.id, language()], () => row.choices.map((each) => element("option", { value: each.action }, say(each.text))));
  $("reconcile-action").value = row.proposed.action;
  drawRow();
  openDialog("reconcile-dialog", "reconcile-reason");
}

function drawRow() {
  if (!row) return;
  setText("reconcile-title", t("reconcile.row", { n: row.n }));
  setText("reconcile-meaning", `${say(row.kind_text)} — ${say(row.text)}`);
  fill("reconcile-facts", [row, language()], () => [
    fact(t("receipt.settlement"), row.setl_id), fact(t("entry.msgid"), row.msgid), fact(t("entry.id"), row.entry), fact(t("entry.holder"), row.holder),
    fact(t("reconcile.ours"), amounts(row.ours)), fact(t("reconcile.theirs"), amounts(row.theirs)), fact(t("reconcile.memo"), row.memo),
  ].filter((each) => each !== null));
  show("reconcile-area-field", $("reconcile-action").value === "refund");
}

async function execute() {
  const now = row;
  if (!now || !$("reconcile-reason").value.trim()) return;
  const order = { action: $("reconcile-action").value, reason: $("reconcile-reason").value.trim() };
  if (order.action === "refund" && $("reconcile-area").value.trim()) order.insuplc_admdvs = $("reconcile-area").value.trim();
  closeDialog("reconcile-dialog");
  const done = await run("reconcile", $(`reconcile-do-${now.n}`), async () => {
    report = await call("POST", `/v1/reconciliation/${report.id}/rows/${now.n}/execute`, order, patience);
  });
  seen = done ? published() : "";
}

export function drawReconcile() {
  const books = model.state?.books ?? {};
  const open = books.open ?? 0;
  show("reconcile-count", open > 0);
  setText("reconcile-count", open > 0 ? t("reconcile.count", { n: open }) : "");
  const here = model.view === "reconcile";
  show("reconcile-view", here);
  if (!here) return;
  if (model.connected && !isBusy("reconcile") && seen && seen !== published()) {
    load();
    return;
  }
  show("reconcile-day-field", !months());
  show("reconcile-month-field", months());
  const idle = model.connected && !isBusy("reconcile");
  usable("reconcile-run", idle);
  if (row) drawRow();
  const none = !report || report.state === "none";
  for (const format of ["csv", "xlsx"]) {
    const link = $(`reconcile-${format}`);
    show(`reconcile-${format}`, !none);
    const wanted = none ? "#" : `/v1/reconciliation/export?${report.period.length === 7 ? "month" : "day"}=${report.period}&format=${format}&lang=${language()}`;
    if (link.getAttribute("href") !== wanted) link.setAttribute("href", wanted);
  }
  show("reconcile-print", !none);
  fill("reconcile-verdict", [report?.period, report?.state, report?.open, report?.at, language()], () => {
    if (!report) return [];
    const sign = { balanced: "✓", unbalanced: "⚠", handled: "✓" }[report.state] ?? "…";
    return [
      element("strong", null, `${sign} ${report.period}: ${say(report.text)}`), " ",
      element("span", { class: "soft" }, [report.at ? t("reconcile.at", { at: moment(report.at) }) : "", report.open > 0 ? t("reconcile.open", { n: report.open }) : ""].filter(Boolean).join("; ")),
    ];
  });
  $("reconcile-view").dataset.verdict = report?.state ?? "";
  const totals = (report?.totals ?? []).filter((each) => !each.balanced || each.ours.count > 0);
  fill("reconcile-totals-body", [totals, language()], () => totals.map(totalsRow));
  show("reconcile-totals", totals.length > 0);
  const rows = report?.differences ?? [];
  const may = (model.state.rights ?? []).includes("reconcile");
  fill("reconcile-body", [report?.id, rows, idle, may, language()], () => rows.map((each) => differenceRow(each, idle && may)));
  show("reconcile-table", rows.length > 0);
  show("reconcile-forbidden", !may && rows.some((each) => each.choices.length > 0));
  // The days of a month that differ; else what was compared lately, and how it stands.
  const days = report?.days?.length > 0 ? report.days : (report?.recent ?? []).filter((each) => each.period !== report.period).slice(0, 10);
  fill("reconcile-days", [days, language()], () => days.map((each) => element("li", null,
    element("button", { type: "button", class: "quiet", id: `reconcile-day-${each.period}`, "data-day": each.period }, each.period), ` ${{ balanced: "✓", handled: "✓" }[each.state] ?? "⚠"} ${say(each.text)}${each.open ? ` (${t("reconcile.open", { n: each.open })})` : ""}`)));
  show("reconcile-others", Boolean(report?.others));
  setText("reconcile-others", report?.others ? t("reconcile.others", { n: report.others.count, total: shown(report.others.total) }) : "");
}

const fact = (name, value) => value ? element("div", null, element("dt", null, name), element("dd", null, value)) : null;

const amounts = (each) => each ? `${shown(each.total)} / ${shown(each.fund)} / ${shown(each.account)}` : "";

function totalsRow(each) {
  const verdict = !each.asked ? t("reconcile.unasked") : each.balanced ? `✓ ${t("reconcile.even")}` : `⚠ ${t("reconcile.uneven")}`;
  return element("tr", { class: each.asked && !each.balanced ? "unknown" : null },
    element("td", null, `${each.insutype.code} ${say(each.insutype)}`), element("td", null, `${each.clr_type.code} ${say(each.clr_type)}`), element("td", null, each.setl_optins),
    element("th", { scope: "row" }, verdict, each.words && !each.balanced ? element("span", { class: "line-split" }, each.words) : null),
    element("td", { class: "n" }, each.ours.count), element("td", { class: "n" }, shown(each.ours.total)), element("td", { class: "n" }, shown(each.ours.fund)), element("td", { class: "n" }, shown(each.ours.account)));
}

function differenceRow(each, can) {
  const tools = each.choices.length === 0 ? null : element("button", {
    type: "button", id: `reconcile-do-${each.n}`, "data-n": each.n, "aria-disabled": can ? null : "true", "aria-label": t("reconcile.deal.label", { n: each.n, action: say(each.proposed.text) }),
  }, each.choices.length > 0 ? say(each.proposed.text) : "");
  const done = each.executed;
  const open = each.state === "open" || each.state === "begun";
  return element("tr", { class: open ? "unknown" : null, "data-state": each.state, "data-finding": each.finding },
    element("td", { class: "n" }, each.n),
    element("th", { scope: "row" }, say(each.kind_text), element("span", { class: "line-split" }, say(each.state_text))),
    element("td", null, say(each.text), each.memo ? element("span", { class: "line-split" }, `${t("reconcile.memo")}: ${each.memo}`) : null,
      done ? element("span", { class: "line-split" }, `${say(done.text)} — ${done.who}, ${moment(done.ended ?? done.begun)}: ${done.reason}`) : null,
      done?.fault ? element("span", { class: "line-split" }, `${done.fault.code} ${say(done.fault.text)}`) : null),
    element("td", null, each.setl_id || "—", each.msgid ? element("span", { class: "line-split" }, each.msgid) : null, each.entry ? element("span", { class: "line-split" }, `${t("entry.title", { n: each.entry })} ${each.holder ?? ""}`) : null),
    element("td", { class: "n" }, amounts(each.ours) || "—"), element("td", { class: "n" }, amounts(each.theirs) || "—"),
    element("td", { class: "tools" }, tools));
}
