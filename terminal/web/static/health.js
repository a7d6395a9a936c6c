// What the desk depends on, and whether this is a rehearsal.

import { element, fill, setText, show } from "./dom.js";
import { language, moment, say, t, known } from "./language.js";
import { model } from "./model.js";

export function drawHealth() {
  const state = model.state;
  show("simulated", state.simulated === true);
  setText("institution", [say(state.institution?.name), state.institution?.code].filter(Boolean).join(" · ") || "—");
  setText("operator", [state.operator?.no, say(state.operator?.name)].filter(Boolean).join(" ") || "—");
  const health = (state.health ?? []).slice(0, 32);
  show("health", health.length > 0);
  // The bad ones first, with the way out.
  fill("health-list", [health, language()], () => [...health].sort((a, b) => Number(a.ok) - Number(b.ok)).map((each) => {
    const name = t(known(`health.${each.condition}`) ? `health.${each.condition}` : "health.other", { name: each.condition });
    if (each.ok) return element("li", { class: "good", "data-condition": each.condition }, `✓ ${name} ${t("health.good")}`);
    const fault = each.fault ?? {};
    return element("li", { class: "bad", "data-condition": each.condition },
      element("strong", null, `✕ ${name} ${t("health.bad")}`), " ",
      element("span", { class: "code" }, fault.code ?? ""), " ",
      element("span", null, say(fault.text)), " ",
      element("span", { class: "remedy" }, say(fault.remedy)), " ",
      each.since ? element("span", { class: "soft" }, t("health.since", { time: moment(each.since) })) : null);
  }));
}
