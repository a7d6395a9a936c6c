// The page's sentences in Chinese and English. The chosen language is the one
// thing that the page remembers.

const remembered = "onecard.language";
const catalogues = { zh: {}, en: {} };
let current = "zh";

export async function loadLanguages() {
  const load = async (language) => {
    const answer = await fetch(`messages.${language}.json`, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`messages.${language}.json: ${answer.status}`);
    catalogues[language] = await answer.json();
  };
  await Promise.all([load("zh"), load("en")]);
  let stored = null;
  try {
    stored = localStorage.getItem(remembered);
  } catch {
    stored = null; // storage is switched off by policy: Chinese, every time
  }
  choose(stored === "en" ? "en" : "zh");
}

export const language = () => current;

export function switchLanguage() {
  choose(current === "zh" ? "en" : "zh");
  try {
    localStorage.setItem(remembered, current);
  } catch {
    return; // see loadLanguages
  }
}

function choose(wanted) {
  current = wanted;
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
}

// t is the sentence of a key, with {name} replaced by values.name.
export function t(key, values) {
  const sentence = catalogues[current][key] ?? key;
  return values ? sentence.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole) : sentence;
}

export const known = (key) => key in catalogues[current];

// say picks the language of a text that the service sent: {zh, en}, a coded
// value {code, zh, en}, or plain text. What has no translation is shown as it is.
export function say(text) {
  if (text === null || text === undefined) return "";
  if (typeof text !== "object") return String(text);
  return String(text[current] || text.zh || text.en || text.name || text.code || "");
}

// named is "name (code)" of {code, name}.
export function named(thing) {
  if (!thing) return "";
  const name = say(thing.name ?? thing);
  return thing.code && thing.code !== name ? `${name} (${thing.code})` : name;
}

const two = (number) => String(number).padStart(2, "0");

// moment is a time in China, the one zone of the insurance centre and of the
// journal's days, whatever this computer is set to. What has no zone (the
// centre's own times) and what is no time stays as it is.
export function moment(text) {
  const at = new Date(text ?? "");
  if (Number.isNaN(at.getTime()) || !/(Z|[+-]\d\d:\d\d)$/.test(text)) return String(text ?? "");
  const china = new Date(at.getTime() + 8 * 3600 * 1000);
  return `${china.getUTCFullYear()}-${two(china.getUTCMonth() + 1)}-${two(china.getUTCDate())} ${two(china.getUTCHours())}:${two(china.getUTCMinutes())}:${two(china.getUTCSeconds())}`;
}

// day spells yyyy-MM-dd out; anything else stays as it is.
export function day(text) {
  const found = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text ?? "");
  if (!found || current !== "zh") return String(text ?? "");
  return `${found[1]}年${Number(found[2])}月${Number(found[3])}日`;
}
