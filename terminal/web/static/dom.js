// Elements. Text from outside only ever becomes a text node or an attribute
// value here, never markup.

export const $ = (id) => document.getElementById(id);

// element makes <tag> with attributes and children; a child that is not a node becomes text.
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== "").map((child) => child instanceof Node ? child : String(child)));
  return made;
}

export function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// setText leaves the node alone when nothing changed, so that a screen reader
// does not read a live region again.
export function setText(id, text) {
  const node = $(id);
  const wanted = text ?? "";
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function show(id, visible) {
  const node = $(id);
  if (node.hidden === visible) node.hidden = !visible;
}

const drawn = new WeakMap();

// fill replaces the children of a list when what they are made of changed. The
// focus stays where it was: on the element with the same id, if it is still there.
export function fill(id, signature, build) {
  const node = $(id);
  const key = JSON.stringify(signature);
  if (drawn.get(node) === key) return;
  drawn.set(node, key);
  const active = node.contains(document.activeElement) ? document.activeElement.id : "";
  node.replaceChildren(...build());
  if (active && document.activeElement?.id !== active) $(active)?.focus();
}

// pair is one name and value of a description list.
export const pair = (name, value, kind) => element("div", { class: kind }, element("dt", null, name), element("dd", null, value));

// usable tells a button's state without the disabled attribute: a disabled
// element would lose the keyboard focus and could not say why.
export function usable(id, can) {
  const button = $(id);
  if (can) button.removeAttribute("aria-disabled");
  else button.setAttribute("aria-disabled", "true");
}

export const isUsable = (button) => button.getAttribute("aria-disabled") !== "true" && button.checkVisibility();

// openDialog shows a dialog and puts the focus on its first target.
export function openDialog(id, focus) {
  const dialog = $(id);
  if (!dialog.open) dialog.showModal();
  $(focus).focus();
}

export function closeDialog(id) {
  const dialog = $(id);
  if (dialog.open) dialog.close();
}

export const dialogOpen = () => document.querySelector("dialog[open]") !== null;
