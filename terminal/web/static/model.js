// What the screen is drawn from: the state that the service published, and the
// few things that belong to this page alone and are gone after a reload.

export const model = {
  state: null, // the newest state document
  connected: false,
  view: "visit", // "journal" or "reconcile"
  reader: null, // id chosen where there are several
  finished: null, // {reader, insertion} of the card whose visit was put away
  reveal: null, // {reader, insertion, identity, until}
  record: null, // {reader, insertion, id, file}
  editing: null, // index of the fee line in the entry form
  slip: null, // the refund that is shown on paper
  deleted: null, // {visit, index, line}
};

// reader is the one whose card the desk works with.
export function reader() {
  const readers = (model.state?.readers ?? []).filter((each) => each.role !== "psam" && each.role !== "pad");
  return readers.find((each) => each.id === model.reader)
    ?? readers.find((each) => each.id === model.state.visit?.reader && each.state !== "gone")
    ?? readers.find((each) => each.card)
    ?? readers[0] ?? null;
}

export const card = () => {
  const now = reader();
  return now?.state === "ready" ? now.card ?? null : null;
};

// visit is the desk's current visit.
export function visit() {
  const now = model.state?.visit ?? null;
  return now && now.state !== "closed" ? now : null;
}

export const permits = (step) => (visit()?.next ?? []).includes(step);

// step names where the desk is: it decides what is shown and where the focus goes.
export function step() {
  if (!model.state) return "none";
  const now = visit();
  if (now) return { opening: "opening", registered: "fees", lines: "fees", tried: "tried", settling: "settling", refunding: "settling", settled: "settled", unknown: "unknown" }[now.state] ?? "fees";
  const at = reader();
  if (!at || at.state === "gone" || at.state === "stuck" || at.state === "failed") return "failed";
  return { empty: "waiting", reading: "reading", ready: "ready" }[at.state] ?? "waiting";
}

// same tells whether something fetched earlier still belongs to the card in the reader.
export const same = (kept) => kept !== null && reader()?.id === kept.reader && card()?.insertion === kept.insertion;

export const ticket = () => ({ reader: reader()?.id, insertion: card()?.insertion });
