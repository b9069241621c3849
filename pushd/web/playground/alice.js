// Alice: what she writes, and what became of it.

import { $, announce, clock, element, putFirst, say } from "./dom.js";

const SHOWN = 60;
const AT_ONCE = 8;

/**
 * Lets Alice write to Bob, with the client that `makeClient` returns.
 *
 * Returns what makes her look Bob up anew: a client remembers for an hour where he is.
 */
export function showAlice(makeClient, to) {
  let client = makeClient();
  const send = (content) => sendOne(client, to, content);
  $("alice-name").textContent = client.name;
  $("compose").addEventListener("submit", (event) => {
    event.preventDefault();
    const content = $("text").value.trim();
    if (content) send(content);
    $("text").select();
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("compose").requestSubmit();
    }
  });
  $("hundred").addEventListener("click", () => sendMany(send, 100));
  return () => {
    client = makeClient();
  };
}

async function sendOne(client, to, content) {
  const fate = element("small", {}, "sealing…");
  putFirst($("sent"), element("li", {}, element("p", {}, content), fate), SHOWN);
  try {
    const { accepted } = await client.send(to, content);
    say(fate, `✓ kept by Bob's server, ${clock(Date.now() / 1000)}`);
    fate.title = accepted.id;
  } catch (error) {
    say(fate, `not sent: ${error.message}`);
    fate.className = "failed";
  }
}

async function sendMany(send, many) {
  const bar = $("sending");
  $("hundred").disabled = true;
  Object.assign(bar, { hidden: false, max: many, value: 0 });
  let next = 0;
  const work = async () => {
    while (next < many) {
      next += 1;
      await send(`Message ${next} of ${many}`);
      bar.value += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  bar.hidden = true;
  $("hundred").disabled = false;
  announce(`Alice sent ${many} messages.`);
}
