// Calls to the service: one at a time in each area of the desk, never twice for
// one press, and every failure shown as code, sentence and remedy.

import { $, element, fill, show } from "./dom.js";
import { language, say, t } from "./language.js";
import { refresh } from "./connection.js";
import { model, step, visit } from "./model.js";

export class Failure extends Error {
  constructor(fault, reached) {
    super(fault.code);
    this.fault = fault;
    this.reached = reached;
  }
}

// call sends one request. A failure is thrown as Failure with the service's
// fault; one that never came back has the fault of a service that is away.
export async function call(method, path, body, milliseconds = 15000) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      cache: "no-store",
      headers: method === "GET" ? undefined : { "Content-Type": "application/json" },
      body: method === "GET" ? undefined : JSON.stringify(body ?? {}),
      signal: AbortSignal.timeout(milliseconds),
    });
  } catch {
    throw new Failure({ code: "OC-3202", local: "away" }, false);
  }
  if (answer.status === 204) return null;
  let document = null;
  try {
    document = await answer.json();
  } catch {
    document = null;
  }
  if (answer.ok && document !== null) return document;
  throw new Failure(document?.fault ?? { code: `HTTP ${answer.status}`, local: "foreign" }, true);
}

const busy = new Set();
const faults = new Map();
let draw = () => {};

export function onCommand(redraw) {
  draw = redraw;
}

export const isBusy = (area) => busy.has(area);

// run does work for a button of an area ("card", "visit", "journal", "reconcile"). While it
// runs, the area takes no other command. It returns whether the work succeeded.
export async function run(area, button, work) {
  if (busy.has(area)) return false;
  if (!model.connected) return false;
  busy.add(area);
  faults.delete(area);
  button?.setAttribute("aria-busy", "true");
  draw();
  try {
    await work();
    return true;
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    faults.set(area, failure.fault);
    return false;
  } finally {
    await refresh();
    busy.delete(area);
    button?.removeAttribute("aria-busy");
    draw();
  }
}

export function forget(area) {
  faults.delete(area);
}

export function complain(area, fault) {
  faults.set(area, fault);
}

// drawFaults shows the last failure of every area that has a place for it.
export function drawFaults() {
  for (const area of ["card", "visit", "journal", "resolve", "reconcile"]) {
    let fault = faults.get(area) ?? null;
    if (area === "visit" && !fault && !visit()?.fault && visit()?.earlier && !["settled", "unknown"].includes(step())) {
      // Another settlement of this person is in doubt: to be seen before this one.
      faultInto("visit-fault", { ...visit().earlier, text: { zh: "此人另有一笔结算结果未知，请先核对，避免重复收费。", en: "Another settlement of this person is in doubt; look at it first, or the person may pay twice." } });
      continue;
    }
    if (area === "visit" && visit()?.fault) {
      // The published fault outlives a reload; the outcome panel shows it by itself.
      const own = step() === "unknown";
      if (!fault && !own) {
        faultInto("visit-fault", visit().fault);
        continue;
      }
      if (own && fault?.code === visit().fault.code) fault = null;
    }
    faultInto(`${area}-fault`, fault, () => {
      faults.delete(area);
      draw();
    });
  }
}

// faultInto shows a fault in a box, or hides the box.
export function faultInto(id, fault, dismiss) {
  show(id, Boolean(fault));
  fill(id, [fault, language()], () => {
    if (!fault) return [];
    const parts = [element("p", { class: "fault-text" }, element("strong", { class: "code" }, fault.code), " ", fault.local ? t(`fault.${fault.local}`) : say(fault.text))];
    if (Number.isInteger(fault.tries_left)) parts.push(element("p", null, fault.tries_left > 0 ? t("pin.tries", { n: fault.tries_left }) : t("pin.blocked")));
    if (fault.detail) parts.push(element("p", { class: "detail" }, `${t(fault.code === "OC-2201" || fault.code === "OC-2202" ? "fault.centre" : "fault.detail")} `, element("q", null, fault.detail)));
    const remedy = fault.local ? t(`fault.${fault.local}.remedy`) : say(fault.remedy);
    if (remedy) parts.push(element("p", { class: "remedy" }, element("strong", null, t("fault.remedy")), " ", remedy));
    if (dismiss) {
      const close = element("button", { type: "button", class: "quiet", id: `${id}-close` }, t("fault.close"));
      close.addEventListener("click", dismiss);
      parts.push(close);
    }
    return parts;
  });
}

// announce tells a screen reader what just happened.
export function announce(text) {
  const place = $("announce");
  place.textContent = "";
  place.textContent = text;
}
