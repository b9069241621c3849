/** A mailbox in memory, for receivers to connect to: it speaks frames, as a server does. */

import type { Connection, Open, Peer, Way } from '../src/client/transports/connection.ts';
import type { ClientFrame, ServerFrame } from '../src/protocol/messages.ts';

/** A mailbox, and the connections it has. */
export class Mailbox {
  /** Payloads by the number of their message. */
  readonly unread = new Map<number, string>();
  /** How many connections were made. */
  connections = 0;
  /** Those there are now. */
  readonly open = new Set<Session>();
  /** Every frame of the clients. */
  readonly heard: ClientFrame[] = [];
  /** What becomes of a connection: undefined opens it, a code closes it at once. */
  refuses: number | undefined;
  /** Whether it answers nothing, as one that is not there any more. */
  isSilent = false;
  #seq = 0;

  /** The way to it. */
  readonly way: Way = { name: 'websocket', open: (...made) => this.#connect(...made) };

  #connect(...[, peer, opened]: Parameters<Open>): Connection {
    this.connections += 1;
    const session = new Session(this, peer);
    if (this.refuses === undefined) {
      this.open.add(session);
      queueMicrotask(opened);
    } else queueMicrotask(() => session.end(this.refuses!));
    return session;
  }

  /** Accepts messages, and pushes them. */
  accept(...payloads: string[]): void {
    for (const payload of payloads) {
      this.unread.set(++this.#seq, payload);
      for (const session of this.open) session.push();
    }
  }

  get tail(): string {
    return `7-${this.#seq}`;
  }

  /** Removes what an ack names; returns how many there were. */
  remove(frame: { ids?: string[]; upto?: string }): number {
    const before = this.unread.size;
    for (const id of frame.ids ?? []) this.unread.delete(seqOf(id));
    for (const seq of [...this.unread.keys()]) {
      if (frame.upto && seq <= seqOf(frame.upto)) this.unread.delete(seq);
    }
    return before - this.unread.size;
  }
}

const seqOf = (id: string) => Number(id.split('-')[1]);

/** One connection. */
export class Session implements Connection {
  readonly #mailbox: Mailbox;
  readonly #peer: Peer;
  #position = Infinity;

  constructor(mailbox: Mailbox, peer: Peer) {
    this.#mailbox = mailbox;
    this.#peer = peer;
  }

  /** Says a frame. */
  say(frame: ServerFrame): void {
    this.#peer.frame(JSON.stringify(frame));
  }

  /** Ends the connection. */
  end(code: number): void {
    if (this.#mailbox.open.delete(this) || this.#mailbox.refuses) this.#peer.closed(code, '');
  }

  /** Sends what follows. */
  push(): void {
    for (const [seq, payload] of this.#mailbox.unread) {
      if (seq <= this.#position) continue;
      this.#position = seq;
      const id = `7-${seq}`;
      const from = { did: 'did:btc-addr:1x' };
      const message = { id, from, payload, at: 0, expires: 1 };
      this.say({ type: 'messages', messages: [message], cursor: id });
    }
  }

  send(frame: ClientFrame): void {
    this.#mailbox.heard.push(frame);
    if (this.#mailbox.isSilent) return;
    if (frame.type === 'hello') this.#greet(frame.after);
    else if (frame.type === 'ping') this.say({ type: 'pong' });
    else if (frame.type === 'ack') {
      const removed = this.#mailbox.remove(frame);
      this.say({ type: 'acked', ref: frame.ref!, removed });
    }
  }

  #greet(after: string | undefined): void {
    const { tail, unread } = this.#mailbox;
    const continuity = after?.startsWith('7-') ? 'exact' : 'replay';
    this.#position = continuity === 'exact' ? seqOf(after!) : 0;
    const session = { session: 's', mailbox: 'did:btc-addr:1y', server: 'https://push.example' };
    const counts = { unread: unread.size, tail, continuity } as const;
    this.say({ type: 'welcome', ...session, ...counts, ping_interval: 25, window: 256 });
    this.push();
    this.say({ type: 'caught_up', tail, cursor: tail, unread: unread.size });
  }

  close(code: number): void {
    queueMicrotask(() => this.end(code));
  }
}
