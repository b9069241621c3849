/** A message as an app gets it: opened, verified, and with what it takes to ack it. */

import type { Opened } from './inbox.ts';
import type { Received } from './listeners.ts';

/** A message, as it was written to be read. */
export interface Incoming extends Opened {
  /** DID of the sender: the server verified it, and so did the signature. */
  sender: string;
  /** Canonical URL of the server that brought it. */
  server: string;
  /** How it came. */
  received: Received<Opened>;
  /** Tells the server to forget the message: it is safe with the app. */
  ack(): void;
}

const shown = new WeakMap<Received<Opened>, Incoming>();

/** Returns what listeners get of a message that was opened, always the same object. */
export function incomingOf(received: Received<Opened>): Incoming {
  let incoming = shown.get(received);
  if (!incoming) {
    const { sender, server } = received;
    const ack = () => received.ack();
    incoming = { ...(received.content as Opened), sender, server, received, ack };
    shown.set(received, incoming);
  }
  return incoming;
}
