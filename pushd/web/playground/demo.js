// The cast of a demo: people with names, and a Gaia hub that keeps what they write.

import { Client, MemoryStore, PrivateKey } from "./client.js";

/** Returns who plays, as the demo tells its page; null where this server is no demo. */
export async function demoCast() {
  const answer = await fetch("playground/people");
  if (answer.status === 404) return null;
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail);
  const { alice, bob, servers, ...place } = told;
  return {
    alice: () => clientOf(alice, place),
    bob: { name: bob.name, address: bob.name, key: PrivateKey.fromHex(bob.key) },
    device: (name) => clientOf(bob, place, name),
    servers,
  };
}

function clientOf({ name, key, server }, { app, hub, devHosts }, device) {
  return new Client(PrivateKey.fromHex(key), {
    app,
    name,
    hub,
    namesApi: hub,
    devHosts,
    servers: [server],
    device,
    ack: "manual",
    store: new MemoryStore(),
    tabs: false,
  });
}
