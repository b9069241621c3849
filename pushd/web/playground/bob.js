// Bob: his devices, each a client of its own, and the server he chose.

import { $, announce, clock, copyOf, element, inNextFrame, say } from "./dom.js";
import { idsOf } from "./mailbox.js";

const SHOWN = 60;
const PILL = { live: "good", "catching up": "warn", connecting: "warn", offline: "", closed: "" };

/** Shows a device of Bob's on which this client runs. */
export function showDevice(client, name) {
  const view = copyOf("device");
  const list = view.querySelector("ol");
  const part = (selector) => view.querySelector(selector);
  const messages = new Map();
  view.dataset.device = name;
  part("h3").textContent = name;
  list.setAttribute("aria-label", `Messages on Bob's ${name}`);
  $("devices").append(view);

  const unreadOf = () => [...messages.values()].filter((one) => !one.read);
  const bar = part("progress");
  const draw = inNextFrame(() => {
    const unread = unreadOf().length;
    say(part(".unread"), unread ? `${unread} unread` : "nothing unread");
    part(".all").disabled = unread === 0;
    const newest = [...messages.values()].slice(-SHOWN).reverse();
    list.replaceChildren(...newest.map(({ item }) => item));
    view.dataset.messages = messages.size;
    view.dataset.unread = unread;
  });
  const settle = (id) => {
    const one = messages.get(id);
    if (!one || one.read) return;
    one.read = true;
    one.item.classList.add("read");
    one.item.querySelector("button").remove();
    draw();
  };
  const read = ({ message, id }) => {
    message.ack();
    settle(id);
  };

  client.listen((message) => {
    const { id } = message.received;
    const button = element("button", { type: "button" }, "Mark as read");
    const item = element(
      "li",
      {},
      element("p", {}, message.content),
      element("small", {}, `${message.name ?? message.sender}, ${clock(message.at)} `, button),
    );
    const one = { message, id, item, read: false };
    button.addEventListener("click", () => read(one));
    messages.set(id, one);
    bar.value += 1;
    bar.hidden ||= bar.value >= bar.max;
    draw();
    announce(`Bob's ${name} has ${messages.size} messages.`);
  });
  client.onRead((what) => idsOf(what, messages.keys()).forEach(settle));
  client.onState((state, server) => {
    if (server !== client.servers[0]) return;
    if (state.is === "catching up" && bar.hidden) {
      // The frames are here at once; to fetch and open what they lead to takes its time.
      const missing = state.unread - unreadOf().length;
      if (missing > 1) Object.assign(bar, { hidden: false, max: missing, value: 0 });
    }
    if (state.is === "offline") bar.hidden = true;
    showState(part(".state"), state);
  });
  part(".all").addEventListener("click", () =>
    unreadOf().forEach(read),
  );
  part("input").addEventListener("change", ({ target }) => {
    if (target.checked) client.resume();
    else client.pause();
    if (!target.checked) showState(part(".state"), { is: "offline" });
    announce(`Bob's ${name} is ${target.checked ? "online" : "offline"}.`);
  });
  client.start();
}

function showState(pill, { is, way }) {
  say(pill, is === "live" && way && way !== "websocket" ? `live by ${way}` : is);
  pill.className = `pill state ${PILL[is] ?? ""}`;
}

/** Lets Bob choose among servers; his devices follow, and `moved` is called. */
export function showProvider(clients, servers, moved) {
  const choice = $("provider");
  choice.append(
    ...servers.map((url) => element("option", { value: url }, url.replace(/^https?:\/\//, ""))),
  );
  choice.value = clients[0].servers[0];
  choice.addEventListener("change", async () => {
    choice.disabled = true;
    try {
      for (const client of clients) await client.moveTo([choice.value]);
      moved();
      announce(`Bob moved to ${choice.value}.`);
    } finally {
      choice.disabled = false;
      choice.focus();
    }
  });
}
