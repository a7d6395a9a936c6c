// The stream of states. It reconnects for as long as the page is open, with a
// bounded back-off, and asks for the state itself after every command, so that a
// command's result is on the screen when the command is over.

import { model } from "./model.js";

const first = 250;
const longest = 5000;
let wait = first;
let version = null;
let changed = () => {};

export function connect(onChange) {
  changed = onChange;
  open();
}

function accept(state, fresh) {
  if (!state || typeof state !== "object") return;
  // Within one connection a state never goes back; a new connection may be to a
  // service that was started again and counts from the beginning.
  if (!fresh && model.state && state.seq < model.state.seq) return;
  if (version !== null && state.version !== version) {
    // Another version of the service has other files: take its page.
    location.reload();
    return;
  }
  version = state.version;
  model.state = state;
  changed();
}

function open() {
  let fresh = true;
  const socket = new WebSocket(new URL("/v1/events", location.href.replace(/^http/, "ws")));
  socket.addEventListener("message", (event) => {
    let message = null;
    try {
      message = JSON.parse(event.data);
    } catch {
      socket.close(); // not the service's language; start again
      return;
    }
    if (message?.type !== "state") return;
    model.connected = true;
    wait = first;
    accept(message.state, fresh);
    fresh = false;
  });
  socket.addEventListener("close", async () => {
    model.connected = false;
    changed();
    await pause();
    await renew();
    open();
  }, { once: true });
}

function pause() {
  const time = wait * (0.75 + Math.random() / 2);
  wait = Math.min(wait * 2, longest);
  return new Promise((done) => {
    const timer = setTimeout(finish, time);
    function finish() {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", finish);
      done();
    }
    // Somebody looks at the page again: try at once.
    document.addEventListener("visibilitychange", finish);
  });
}

// renew fetches the page itself: a service that was started again gives the
// page a new session with it.
async function renew() {
  try {
    await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(longest) });
  } catch {
    return; // still away: the socket will say so, too
  }
}

// refresh asks for the newest state. Where that fails the stream brings it later.
export async function refresh() {
  try {
    const answer = await fetch("/v1/state", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (answer.ok) accept(await answer.json(), false);
  } catch {
    return;
  }
}
