/**
 * All ways to a server, for whoever wants to get there whatever stands between.
 *
 * The first way counts. Where it brings not a single frame, though the server answers, the next
 * one gets its turn. When that is over, and now and then before, the first is tried again.
 *
 * A server that answers may have been away a moment before, when the way to it was tried. So a
 * way that led there once is tried twice before it is given up.
 */

import * as CloseCode from '../../protocol/codes.ts';
import { seconds } from '../clock.ts';
import type { Way, Ways } from './connection.ts';
import { events } from './events.ts';
import { polling } from './polling.ts';
import { type WebSocketClass, websockets } from './websocket.ts';

/** Seconds after which a better way is tried again; twice as many later. */
const AGAIN = 300;
const AGAIN_AT_MOST = 3600;
/** Seconds a server has to answer at all. */
const ANSWER = 5;

/** Chooses among several ways, the best one first. */
export class Choice implements Ways {
  readonly #ways: Way[];
  #at = 0;
  // Whether the present connection brought a frame, and the way that did so last.
  #spoke = false;
  #proven: Way | undefined;
  #asking = false;
  #pause = AGAIN;
  #due = 0;

  constructor(ways: Way[]) {
    this.#ways = ways;
  }

  get way(): Way {
    return this.#ways[this.#at] as Way;
  }

  spoke(way: Way): void {
    this.#spoke = true;
    this.#proven = way;
    if (way === this.#ways[0]) this.#pause = AGAIN;
  }

  over(server: string, way: Way, code: number): void {
    const spoke = this.#spoke;
    this.#spoke = false;
    // Any other code is a word of the server, so that it can be reached this way.
    if (code !== CloseCode.ABNORMAL && code !== CloseCode.TIMEOUT) return;
    if (spoke) this.#at = 0;
    else if (!this.#asking) void this.#goOn(server, way);
  }

  /** Goes on to the next way, unless it is the server that is away, or was until now. */
  async #goOn(server: string, way: Way): Promise<void> {
    this.#asking = true;
    const isThere = await answers(server);
    this.#asking = false;
    if (this.#spoke) return; // it led there meanwhile
    if (isThere && way === this.#proven) this.#proven = undefined;
    else this.#at = isThere ? (this.#ways.indexOf(way) + 1) % this.#ways.length : 0;
    this.#due = seconds() + this.#pause;
  }

  isTime(): boolean {
    if (!this.#at || seconds() < this.#due) return false;
    this.#at = 0;
    this.#pause = Math.min(AGAIN_AT_MOST, 2 * this.#pause);
    return true;
  }
}

/** Tells whether a server answers a plain request. */
async function answers(server: string): Promise<boolean> {
  const slow = new AbortController();
  const timer = setTimeout(() => slow.abort(), ANSWER * 1000);
  try {
    const asked = { signal: slow.signal, cache: 'no-store', credentials: 'omit' } as const;
    return (await fetch(`${server}/.well-known/pushd`, asked)).ok;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
    slow.abort();
  }
}

/**
 * Returns the ways to a server.
 *
 * @param told One way alone, or `auto` for all; the class of websockets where the system has
 *   none of its own.
 */
export function waysOf(told: {
  way?: 'auto' | Way['name'] | undefined;
  webSocket?: WebSocketClass | undefined;
}): Ways {
  const { way = 'auto', webSocket = globalThis.WebSocket } = told;
  const ways: Way[] = [
    { name: 'events', open: events },
    { name: 'polling', open: polling },
  ];
  if (webSocket) ways.unshift({ name: 'websocket', open: websockets(webSocket) });
  return new Choice(ways.filter(({ name }) => way === 'auto' || name === way));
}
