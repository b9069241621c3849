/**
 * Server-sent events, read by `fetch`: a browser's `EventSource` cannot show a token.
 *
 * Each event holds one frame of the server. What the client says goes by requests of its own,
 * and comes back as read by others. A token cannot be renewed, so with a new one the stream is
 * asked for anew.
 */

import * as CloseCode from '../../protocol/codes.ts';
import { Cursor } from '../../protocol/ids.ts';
import { decodeServerFrame, type Hello, type ServerFrame } from '../../protocol/messages.ts';
import type { Open } from './connection.ts';
import { HttpConnection } from './http.ts';

/** Characters of an event that is not over; a frame has fewer. */
const MAX_EVENT = 512 * 1024;
/** Messages that may be under way to a slow app before no more are read. */
const UNDER_WAY = 200;
/** Acks of which is remembered that they were this client's own. */
const OWN_ACKS = 100;

/** The close codes that reasons of a closing stand for; any other is a server that is away. */
const CODES: Record<string, number> = {
  token_expired: CloseCode.UNAUTHORIZED,
  unauthorized: CloseCode.UNAUTHORIZED,
  forbidden: CloseCode.FORBIDDEN,
  displaced: CloseCode.DISPLACED,
  silent: CloseCode.TIMEOUT,
  stuck: CloseCode.TIMEOUT,
};

class EventStream extends HttpConnection {
  #underWay = 0;
  readonly #own = new Set<string>();

  protected override async listen({ after, device }: Hello): Promise<void> {
    const headers = { Accept: 'text/event-stream' };
    const query = new URLSearchParams({ ...(after && { after }), ...(device && { device }) });
    await this.request(`/v1/stream?${query}`, { headers }, async (response, takeTime) => {
      const type = response.headers.get('Content-Type') ?? '';
      if (!response.body || !type.startsWith('text/event-stream')) {
        throw new Error('These are no events.');
      }
      takeTime();
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      const parse = eventParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.peer.heard();
        for (const data of parse(decoder.decode(value, { stream: true }))) await this.#take(data);
      }
    });
  }

  async #take(data: string): Promise<void> {
    let frame: ServerFrame | undefined;
    try {
      frame = decodeServerFrame(data);
    } catch {
      // The session says what is to be done about it.
    }
    if (frame?.type === 'read') {
      const { type, ...read } = frame;
      if (this.#own.delete(JSON.stringify(read))) return;
    }
    let taken: Promise<void> | undefined;
    if (frame?.type === 'messages') {
      this.#underWay += frame.messages.length;
      if (this.#underWay >= UNDER_WAY) {
        this.#underWay = 0;
        taken = this.taken(Cursor.parse(frame.cursor).id);
      }
    }
    this.peer.frame(data);
    if (frame?.type === 'closing') {
      this.close(CODES[frame.reason] ?? CloseCode.OVERLOADED, '');
    }
    await taken;
  }

  protected override acking(body: string): void {
    if (this.#own.size >= OWN_ACKS) this.#own.clear();
    this.#own.add(body);
  }

  protected override renewed(): void {
    this.close(CloseCode.NORMAL, 'The token changed.');
  }
}

/** Opens event streams. */
export const events: Open = (server, peer, opened) => {
  queueMicrotask(opened);
  return new EventStream(server, peer);
};

/**
 * Returns a function that takes the text of an event stream in pieces, and returns the data
 * of each event that is whole (HTML standard, section 9.2.6).
 */
export function eventParser(): (piece: string) => string[] {
  let rest = '';
  const data: string[] = [];
  return piece => {
    const whole: string[] = [];
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    if (rest.length > MAX_EVENT) throw new Error('The event does not end.');
    for (const line of lines) {
      if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      else if (!line && data.length) whole.push(data.splice(0).join('\n'));
    }
    return whole;
  };
}
