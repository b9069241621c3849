/**
 * Long polling: frames of a stream, made of what `GET /v1/messages` answers.
 *
 * It asks for the next page once the client says that it took the last one, so a slow app is
 * not flooded. What others ack, it does not learn.
 */

import { Cursor, MessageId } from '../../protocol/ids.ts';
import { type Hello, message, type Unread, unread } from '../../protocol/messages.ts';
import { type Open, say } from './connection.ts';
import { HttpConnection } from './http.ts';

/** Messages of one page. */
const LIMIT = 100;
/** Seconds the server may wait for something to come. */
const WAIT = 50;

class Polling extends HttpConnection {
  protected override async listen({ after }: Hello): Promise<void> {
    let page = await this.#page(after, 0);
    this.#welcome(page);
    let epoch = Cursor.parse(page.cursor).epoch;
    let live = false;
    for (;;) {
      const now = Cursor.parse(page.cursor).epoch;
      if (now !== epoch) {
        const { tail, unread } = page;
        say(this.peer, { type: 'replay', tail, unread, reason: 'The epoch changed.' });
        live = false;
      }
      epoch = now;
      await this.#deliver(page);
      if (!live && page.messages.length < LIMIT) {
        const { tail, cursor, unread } = page;
        say(this.peer, { type: 'caught_up', tail, cursor, unread });
        live = true;
      }
      if (page.overflow) say(this.peer, { type: 'overflow', ...page.overflow });
      page = await this.#page(page.cursor, live ? WAIT : 0);
    }
  }

  async #page(after: string | undefined, wait: number): Promise<Unread> {
    const told = { limit: `${LIMIT}`, wait: `${wait}`, ...(after && { after }) };
    const query = new URLSearchParams(told);
    const page = await this.ask(`/v1/messages?${query}`, unread, { seconds: wait });
    this.peer.heard();
    return page;
  }

  #welcome(page: Unread): void {
    say(this.peer, {
      type: 'welcome',
      session: '',
      mailbox: '',
      server: this.server,
      unread: page.unread,
      tail: page.tail,
      continuity: page.continuity,
      ping_interval: WAIT + 10,
      window: 2 * LIMIT,
    });
  }

  /** Hands over the messages of a page, and waits until they are taken. */
  async #deliver({ messages, cursor }: Unread): Promise<void> {
    const last = messages.at(-1);
    if (last === undefined) return;
    const taken = this.taken(MessageId.parse(message(last, 'message').id));
    say(this.peer, { type: 'messages', messages, cursor });
    await taken;
  }
}

/** Asks again and again. */
export const polling: Open = (server, peer, opened) => {
  queueMicrotask(opened);
  return new Polling(server, peer);
};
