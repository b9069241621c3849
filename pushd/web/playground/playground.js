// The playground: Alice, Bob's two devices and a view into his mailbox, in one page.
//
// They are real clients of a real server. `#alice` and `#bob` show one of the two alone, so
// that in a demo they can have a window each.

import { showAlice } from "./alice.js";
import { showDevice, showProvider } from "./bob.js";
import { Receiver, waysOf } from "./client.js";
import { demoCast } from "./demo.js";
import { $ } from "./dom.js";
import { showMailbox } from "./mailbox.js";
import { soloCast } from "./solo.js";
import { watch } from "./wire.js";

const DEVICES = ["phone", "laptop"];

const only = ["alice", "bob"].find((who) => location.hash === `#${who}`);
if (only) document.body.dataset.only = only;
window.addEventListener("hashchange", () => location.reload());

try {
  begin((await demoCast()) ?? solo());
} catch (error) {
  $("trouble").textContent = `The playground cannot begin: ${error.message}`;
  $("trouble").hidden = false;
}

/** Makes people up, whom no other window can know. */
function solo() {
  document.body.classList.add("solo");
  return soloCast();
}

function begin({ alice, bob, device, servers }) {
  const lookUpAnew = only === "bob" ? () => {} : showAlice(alice, bob.address);
  if (only === "alice") return;
  $("bob-name").textContent = bob.name;
  const run = crypto.randomUUID().slice(0, 8);
  const devices = DEVICES.map((name) => {
    const client = device(`${name} ${run}`);
    watch(client, `Bob's ${name}`);
    showDevice(client, name);
    return client;
  });
  showProvider(devices, servers, lookUpAnew);
  if (only === "bob") return;
  for (const server of servers) {
    const options = { server, ack: "manual", tabs: false, ways: waysOf({}) };
    showMailbox(new Receiver(bob.key, options), server);
  }
}
