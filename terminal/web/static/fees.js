// The fee lines. The service holds them: every line that is added, changed or
// deleted goes to it at once, so a reload loses nothing but the line being typed.

import { $, element, fill, isUsable, setText, show, usable } from "./dom.js";
import { language, t } from "./language.js";
import { announce, call, isBusy, run } from "./commands.js";
import { amountOf, canonical, parseFen, parsePrice, parseQuantity, shown, unitPrice } from "./money.js";
import { model, permits, step, visit } from "./model.js";

export const mostLines = 500; // shown, and pasted at a time
const fields = ["line-code", "line-name", "line-quantity", "line-price"];
const searchAfter = 150;

let redraw = () => {};
let suggestions = [];
let search = null;

export function startFees(draw) {
  redraw = draw;
  $("line-form").addEventListener("submit", (event) => {
    event.preventDefault();
    enter();
  });
  for (const id of fields) $(id).addEventListener("input", () => problem(""));
  for (const id of ["line-quantity", "line-price"]) $(id).addEventListener("input", preview);
  $("line-code").addEventListener("input", suggest);
  $("line-code").addEventListener("change", () => complete());
  $("line-form").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && model.editing !== null) stopEditing();
  });
  $("cancel-edit").addEventListener("click", stopEditing);
  $("undo").addEventListener("click", undo);
  $("lines-body").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-index]");
    if (!button || !isUsable(button)) return;
    const index = Number(button.dataset.index);
    if (button.dataset.action === "delete") remove(index);
    else edit(index);
  });
  clearForm();
}

// check reads one line as typed: the line for the service, or the field that is wrong.
export function check(code, name, quantity, price) {
  const line = { code: code.normalize("NFKC").trim(), name: name.trim(), quantity: canonical(quantity), price: canonical(price) };
  if (!line.code) return { field: 0, problem: "problem.code" };
  if (line.code.length > 50) return { field: 0, problem: "problem.code.long" };
  if (!line.name) return { field: 1, problem: "problem.name" };
  if (line.name.length > 100) return { field: 1, problem: "problem.name.long" };
  const count = parseQuantity(line.quantity);
  if (count === null || count <= 0n) return { field: 2, problem: "problem.quantity" };
  const each = parsePrice(line.price);
  if (each === null || each < 0n) return { field: 3, problem: "problem.price" };
  return { line, amount: amountOf(line.price, line.quantity) };
}

// sums compares what the service computed with this page's own integers. It
// returns the page's total and whether everything agrees.
export function sums(now) {
  let total = 0n;
  let agree = true;
  for (const line of now.lines ?? []) {
    const own = amountOf(line.price, line.quantity);
    if (own === null || own !== parseFen(line.amount)) agree = false;
    total += own ?? 0n;
  }
  if ((now.lines ?? []).length > 0 && parseFen(now.total) !== total) agree = false;
  return { total, agree };
}

export function drawFees() {
  const now = visit();
  const at = step();
  show("fees", now !== null && ["fees", "tried"].includes(at));
  if (!now) return;
  const lines = now.lines ?? [];
  const open = permits("lines");
  if (model.editing !== null && (!open || model.editing >= lines.length)) clearForm();
  if (model.deleted && model.deleted.visit !== now.id) model.deleted = null;
  show("line-form", open);
  show("fees-tools", open);
  const can = open && model.connected && !isBusy("visit");
  usable("add-line", can);
  usable("open-paste", can);
  usable("undo", can);
  for (const id of fields) $(id).readOnly = isBusy("visit");
  setText("add-line-text", t(model.editing === null ? "line.add" : "line.replace"));
  show("cancel-edit", model.editing !== null);
  show("undo-bar", model.deleted !== null && open);
  setText("undo-text", model.deleted ? t("line.deleted", { name: model.deleted.line.name }) : "");
  show("lines", lines.length > 0);
  show("lines-empty", lines.length === 0);
  show("lines-more", lines.length > mostLines);
  setText("lines-more", t("lines.more", { n: lines.length - mostLines }));
  fill("lines-body", [lines, open, can, language()], () => lines.slice(0, mostLines).map((line, i) => row(line, i, open, can)));
  setText("lines-total", shown(now.total));
  const compared = sums(now);
  show("sums-warning", !compared.agree);
  setText("sums-warning", compared.agree ? "" : `⚠ ${t("sums.differ", { page: shown(compared.total), service: shown(now.total) })}`);
}

function row(line, index, open, can) {
  const act = (action, key) => element("button", { type: "button", class: "quiet", id: `${action}-${index}`, "data-index": index, "data-action": action, "aria-disabled": can ? null : "true", "aria-label": t(`${key}.label`, { name: line.name }) }, t(key));
  const split = line.split;
  const parts = split ? ["full_self_pay", "over_limit", "pre_self_pay", "in_scope"].filter((part) => (parseFen(split[part]) ?? 0n) !== 0n).map((part) => `${t(`split.${part}`)} ${shown(split[part])}`) : [];
  return element("tr", null,
    element("td", { class: "n" }, index + 1),
    element("td", { class: "digits" }, line.code),
    element("th", { scope: "row" }, line.name, parts.length > 0 ? element("span", { class: "line-split" }, parts.join(" · ")) : null),
    element("td", { class: "n" }, line.quantity),
    element("td", { class: "n" }, unitPrice(line.price)),
    element("td", { class: "n strong" }, shown(line.amount)),
    element("td", { class: "tools" }, open ? act("edit", "line.edit") : null, open ? act("delete", "line.delete") : null));
}

// put sends the whole list; the service answers by a new state.
export const put = (now, lines) => call("PUT", `/v1/visits/${encodeURIComponent(now.id)}/lines`, { lines: lines.map(({ code, name, quantity, price }) => ({ code, name, quantity, price })) }, 60000);

function problem(text) {
  setText("line-problem", text);
  for (const id of fields) $(id).removeAttribute("aria-invalid");
}

function preview() {
  const amount = amountOf($("line-price").value, $("line-quantity").value);
  setText("line-amount", amount === null ? "—" : shown(amount));
}

function clearForm() {
  model.editing = null;
  for (const id of fields) $(id).value = "";
  $("line-quantity").value = "1";
  problem("");
  preview();
}

function stopEditing() {
  clearForm();
  redraw();
  $("line-code").focus();
}

// enter goes to the next field, and from the last one that is needed adds the line.
async function enter() {
  if ($("add-line").getAttribute("aria-disabled") === "true") return;
  const active = fields.indexOf(document.activeElement?.id);
  complete();
  const checked = check(...fields.map((id) => $(id).value));
  const wrong = checked.line ? fields.length : checked.field;
  const next = active === 0 && $("line-name").value.trim() ? 2 : active + 1;
  if (active >= 0 && wrong >= next && (active < 2 || active === 2 && !$("line-price").value.trim())) {
    problem("");
    $(fields[next]).focus();
    $(fields[next]).select();
    return;
  }
  if (!checked.line) {
    problem(t(checked.problem));
    $(fields[wrong]).setAttribute("aria-invalid", "true");
    $(fields[wrong]).focus();
    return;
  }
  const now = visit();
  const lines = [...now.lines ?? []];
  const editing = model.editing;
  if (editing === null) lines.push(checked.line);
  else lines[editing] = checked.line;
  const done = await run("visit", $("add-line"), () => put(now, lines));
  if (!done) return;
  model.deleted = null;
  clearForm();
  redraw();
  announce(t("line.added", { name: checked.line.name, amount: shown(checked.amount) }));
  $("line-code").focus();
}

function edit(index) {
  const line = visit().lines[index];
  model.editing = index;
  [line.code, line.name, line.quantity, line.price].forEach((value, i) => { $(fields[i]).value = value; });
  problem("");
  preview();
  redraw();
  $("line-quantity").focus();
  $("line-quantity").select();
}

async function remove(index) {
  const now = visit();
  const line = now.lines[index];
  const done = await run("visit", $(`delete-${index}`), () => put(now, now.lines.filter((_, i) => i !== index)));
  if (!done) return;
  clearForm();
  model.deleted = { visit: now.id, index, line };
  redraw();
  $("undo").focus();
}

async function undo() {
  const now = visit();
  const deleted = model.deleted;
  if (!now || !deleted || $("undo").getAttribute("aria-disabled") === "true") return;
  const lines = [...now.lines ?? []];
  lines.splice(deleted.index, 0, deleted.line);
  const done = await run("visit", $("undo"), () => put(now, lines));
  if (!done) return;
  model.deleted = null;
  redraw();
  announce(t("line.restored", { name: deleted.line.name }));
  $("line-code").focus();
}

// suggest offers the local price list's items while a code is typed. The desk
// works without a price list, so a failed search only offers nothing.
function suggest() {
  clearTimeout(search);
  const typed = $("line-code").value.trim();
  if (!typed) return;
  search = setTimeout(async () => {
    let items = [];
    try {
      items = (await call("GET", `/v1/catalogue?q=${encodeURIComponent(typed)}`)).items ?? [];
    } catch {
      items = [];
    }
    if ($("line-code").value.trim() !== typed) return;
    suggestions = items.slice(0, 20);
    fill("line-suggestions", suggestions, () => suggestions.map((item) => element("option", { value: item.code }, `${item.name} ${item.price}`)));
  }, searchAfter);
}

// complete fills name and price from the price list when the code is in it.
function complete() {
  const item = suggestions.find((each) => each.code === $("line-code").value.trim());
  if (!item || model.editing !== null) return;
  if (!$("line-name").value) $("line-name").value = item.name;
  if (!$("line-price").value) $("line-price").value = item.price;
  preview();
}
