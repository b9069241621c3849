// The server's side: what Bob's mailbox holds, as one who cannot open it sees it.
//
// It listens as one more device of Bob's that opens nothing and never acks.

import { $, clock, copyOf, element, inNextFrame, say } from "./dom.js";

const SHOWN = 40;

/** Shows the mailbox at a server through a receiver for it. */
export function showMailbox(receiver, server) {
  const box = copyOf("mailbox");
  const list = box.querySelector("ol");
  const held = new Map();
  box.querySelector("h3").textContent = server.replace(/^https?:\/\//, "");
  list.setAttribute("aria-label", `Messages held at ${server}`);
  $("mailboxes").append(box);

  const draw = inNextFrame(() => {
    const pill = box.querySelector(".pill");
    say(pill, held.size ? `${held.size} held` : "empty");
    pill.className = `pill ${held.size ? "warn" : ""}`;
    const newest = [...held.values()].slice(-SHOWN).reverse();
    list.replaceChildren(...newest.map((item) => item));
  });
  const forget = (id) => held.delete(id) && draw();

  receiver.listen((message) => {
    held.set(message.id, sealed(message));
    draw();
  });
  receiver.onRead((read) => idsOf(read, held.keys()).forEach(forget));
  receiver.start();
}

function sealed({ id, name, sender, payload, at }) {
  const text = cipherText(payload);
  return element(
    "li",
    {},
    element(
      "p",
      { className: "from" },
      element("b", {}, name ?? sender),
      element("span", { className: "quiet" }, ` ${clock(at)} · ${payload.length} bytes`),
    ),
    element("p", { className: "cipher mono", title: id }, text.slice(0, 180)),
  );
}

function cipherText(payload) {
  try {
    return JSON.parse(payload).cipherText ?? payload;
  } catch {
    return payload;
  }
}

/** Returns which of some message ids a `read` is about. */
export function idsOf({ ids, upto }, known) {
  if (ids !== undefined) return ids;
  const [epoch, last] = upto.split("-").map(Number);
  return [...known].filter((id) => {
    const [of, seq] = id.split("-").map(Number);
    return of === epoch && seq <= last;
  });
}
