// The records on the card, in plain words, once the holder has entered the PIN.

import { $, element, fill, setText, show, usable } from "./dom.js";
import { day, language, say, t } from "./language.js";
import { call, isBusy, run } from "./commands.js";
import { card, model, same, ticket } from "./model.js";

// The card counts these in months, though it calls some of them years.
const months = { DF03EF05: ["63", "64", "65", "66"] };
const mostRecords = 200;

let redraw = () => {};

export function startRecords(draw) {
  redraw = draw;
  for (const button of document.querySelectorAll("button.record")) button.addEventListener("click", () => open(button));
}

export function drawRecords() {
  const now = card();
  const verified = now?.pin?.verified === true;
  if (model.record && (!same(model.record) || !verified)) model.record = null;
  setText("records-hint", verified ? "" : t("records.pin"));
  for (const button of document.querySelectorAll("button.record")) {
    usable(button.id, verified && model.connected && !isBusy("card"));
    button.setAttribute("aria-expanded", String(model.record?.id === button.dataset.file));
  }
  const kept = model.record;
  show("record-view", kept !== null);
  setText("record-heading", kept ? say(kept.file.name) : "");
  const records = kept?.file.records ?? [];
  fill("record-list", [records, language()], () => list(kept?.id, records.slice(0, mostRecords)));
}

// list shows what the card holds, and in one line at the end what it does not.
function list(file, records) {
  const empty = records.filter((record) => record.unset && !record.fault);
  const rows = records.filter((record) => !empty.includes(record)).map((record) => line(file, record));
  if (empty.length > 0) rows.push(element("div", { class: "soft" }, element("dt", null, t("records.unset")), element("dd", null, empty.map((record) => say(record.name) || record.tag).join(t("records.comma")))));
  return rows;
}

function line(file, record) {
  const value = record.fault
    ? element("span", { class: "bad-text" }, `${record.fault.code} ${say(record.fault.text)}`)
    : record.unset ? element("span", { class: "soft" }, t("records.unset")) : meaning(file, record);
  const members = (record.members ?? []).slice(0, mostRecords);
  const shown = members.length > 0 && !record.fault ? element("dl", { class: "facts" }, ...members.map((member) => line(file, member))) : value;
  return element("div", { "data-tag": record.tag }, element("dt", null, say(record.name) || record.tag), element("dd", null, shown));
}

function meaning(file, record) {
  const value = say(record.value);
  const text = say(record.text);
  if (text && text !== value) return element("span", null, text, " ", element("span", { class: "soft" }, `(${value})`));
  if (months[file]?.includes(record.tag) && /^\d+$/.test(value)) return t("records.months", { n: String(Number(value)) });
  return day(value) || "—";
}

async function open(button) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const id = button.dataset.file;
  if (model.record?.id === id) {
    model.record = null;
    redraw();
    return;
  }
  const asked = ticket();
  const done = await run("card", button, async () => {
    const answer = await call("GET", `/v1/readers/${encodeURIComponent(asked.reader)}/files/${id}`);
    if (same(asked)) model.record = { ...asked, id, file: answer.file ?? { records: [] } };
  });
  if (done && model.record) $("record-heading").focus();
}
