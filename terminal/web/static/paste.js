// Fee lines from a hospital system or a spreadsheet: text with TABs or commas,
// shown line by line with what is wrong before anything is taken over.

import { $, closeDialog, element, fill, openDialog, setText, usable } from "./dom.js";
import { language, t } from "./language.js";
import { announce, isBusy, run } from "./commands.js";
import { amountOf, parseFen, shown } from "./money.js";
import { model, visit } from "./model.js";
import { check, mostLines, put } from "./fees.js";

const mostCharacters = 200000;

// What the columns are called in the systems that the lines come from.
const columns = {
  code: ["编码", "项目编码", "收费编码", "医院编码", "国家编码", "医保编码", "目录编码", "代码", "code", "item code"],
  name: ["名称", "项目名称", "收费项目", "收费项目名称", "药品名称", "通用名", "name", "item", "item name", "description"],
  quantity: ["数量", "次数", "数目", "quantity", "qty", "count"],
  price: ["单价", "价格", "单价(元)", "price", "unit price"],
  amount: ["金额", "总价", "小计", "金额(元)", "amount", "total", "sum"],
};

const heading = (cell) => {
  const name = cell.normalize("NFKC").trim().toLowerCase();
  return Object.keys(columns).find((column) => columns[column].includes(name)) ?? null;
};

// cells splits one line. Quotes protect separators and, doubled, themselves.
function cells(line, separator) {
  const found = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const c = line[i];
    if (quoted && c === '"' && line[i + 1] === '"') cell += line[++i];
    else if (c === '"' && (quoted || cell.trim() === "")) {
      quoted = !quoted;
      if (quoted) cell = "";
    } else if (!quoted && c === separator) {
      found.push(cell.trim());
      cell = "";
    } else cell += c;
  }
  found.push(cell.trim());
  return found;
}

// parsePasted reads a pasted list: {header, rows}, a row being {number, cells,
// line, amount} or {number, cells, problem}; tooLong when it was cut off.
export function parsePasted(text) {
  const all = text.slice(0, mostCharacters).replace(/^\uFEFF/, "").split(/\r\n|\r|\n/);
  const numbered = all.map((line, i) => ({ number: i + 1, line })).filter(({ line }) => line.trim() !== "");
  const sample = numbered[0]?.line ?? "";
  const separator = sample.includes("\t") ? "\t" : "," ;
  const split = (line) => cells(separator === "," && !line.includes(",") ? line.replaceAll("，", ",") : line, separator);
  let order = ["code", "name", "quantity", "price", "amount"];
  let header = false;
  if (numbered.length > 0) {
    const names = split(sample).map(heading);
    if (names.filter(Boolean).length >= 3) {
      header = true;
      order = names;
      numbered.shift();
    }
  }
  const missing = ["code", "name", "quantity", "price"].some((column) => !order.includes(column));
  const rows = numbered.slice(0, mostLines).map(({ number, line }) => {
    const parts = split(line);
    const of = (column) => parts[order.indexOf(column)] ?? "";
    const taken = { code: of("code"), name: of("name"), quantity: of("quantity"), price: of("price"), amount: of("amount") };
    if (missing) return { number, cells: taken, problem: "problem.columns.missing" };
    if (parts.length < 4) return { number, cells: taken, problem: "problem.columns" };
    if (!header && parts.filter((part, i) => part !== "" || i < 5).length > 5) return { number, cells: taken, problem: "problem.columns.many" };
    const checked = check(taken.code, taken.name, taken.quantity, taken.price);
    if (!checked.line) return { number, cells: taken, problem: checked.problem };
    if (taken.amount && parseFen(taken.amount) !== amountOf(taken.price, taken.quantity)) return { number, cells: taken, problem: "problem.amount" };
    return { number, cells: taken, line: checked.line, amount: checked.amount };
  });
  return { header, rows, tooLong: numbered.length > mostLines || text.length > mostCharacters };
}

export function startPaste() {
  $("open-paste").addEventListener("click", () => openPaste(""));
  $("paste-cancel").addEventListener("click", () => closeDialog("paste-dialog"));
  $("paste-dialog").addEventListener("close", () => {
    $("paste-text").value = "";
    drawPaste();
    if ($("line-code").checkVisibility()) $("line-code").focus();
  });
  $("paste-text").addEventListener("input", drawPaste);
  $("paste-form").addEventListener("submit", (event) => {
    event.preventDefault();
    take();
  });
  // A whole list pasted into the entry fields opens the preview.
  $("line-form").addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!/[\t\n]/.test(text.trim())) return;
    event.preventDefault();
    openPaste(text);
  });
}

export function openPaste(text) {
  if ($("open-paste").getAttribute("aria-disabled") === "true" || !$("open-paste").checkVisibility()) return;
  $("paste-text").value = text;
  openDialog("paste-dialog", "paste-text");
  drawPaste();
}

const wrong = (list) => list.rows.filter((row) => row.problem).length;

export function drawPaste() {
  const list = parsePasted($("paste-text").value);
  const bad = wrong(list);
  const good = list.rows.length - bad;
  const total = list.rows.reduce((sum, row) => sum + (row.amount ?? 0n), 0n);
  const can = good > 0 && bad === 0 && !list.tooLong && model.connected && !isBusy("visit");
  usable("paste-add", can);
  setText("paste-add", t("paste.add", { n: good }));
  const said = [];
  if (list.rows.length === 0) said.push(t("paste.empty"));
  else said.push(t("paste.summary", { n: list.rows.length, total: shown(total) }));
  if (list.header) said.push(t("paste.header"));
  if (bad > 0) said.push(`✕ ${t("paste.bad", { n: bad })}`);
  if (list.tooLong) said.push(`✕ ${t("paste.long", { n: mostLines })}`);
  setText("paste-summary", said.join(" "));
  $("paste-summary").className = bad > 0 || list.tooLong ? "problem" : "";
  $("paste-table").hidden = list.rows.length === 0;
  fill("paste-body", [list.rows.map((row) => [row.number, row.cells, row.problem]), language()], () => list.rows.map((row) => element("tr", { class: row.problem ? "bad" : null },
    element("td", { class: "n" }, row.number),
    element("td", null, row.cells.code),
    element("td", null, row.cells.name),
    element("td", { class: "n" }, row.cells.quantity),
    element("td", { class: "n" }, row.cells.price),
    element("td", { class: "n" }, row.problem ? row.cells.amount || "—" : shown(row.amount)),
    element("td", { class: row.problem ? "bad-text" : "good-text" }, row.problem ? `✕ ${t(row.problem)}` : `✓ ${t("paste.good")}`))));
}

async function take() {
  const button = $("paste-add");
  if (button.getAttribute("aria-disabled") === "true") {
    $("paste-text").focus();
    return;
  }
  const now = visit();
  const list = parsePasted($("paste-text").value);
  const lines = [...now.lines ?? [], ...list.rows.map((row) => row.line)];
  const done = await run("visit", button, () => put(now, lines));
  closeDialog("paste-dialog"); // on failure the reason stands under the list
  if (!done) return;
  model.deleted = null;
  announce(t("paste.done", { n: list.rows.length }));
}
