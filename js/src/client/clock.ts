/** Time and waiting: Unix seconds, seconds that never go back, and how long to go on trying. */

import { BACKOFF_BASE, BACKOFF_CAP } from '../protocol/session.ts';

/** Returns Unix seconds. */
export type Clock = () => number;
export const unixSeconds: Clock = () => Date.now() / 1000;

let last = 0;
let offset = 0;

/**
 * Returns seconds that never go back, but go on while the machine sleeps.
 *
 * `performance.now()` stands still then on some systems, and a connection that died
 * meanwhile would be taken for one that was just heard of.
 */
export function seconds(): number {
  const now = unixSeconds();
  if (now < last) offset += last - now;
  last = now;
  return now + offset;
}

/** Waits; less long if `hurry` says so. */
export function pause(seconds: number, hurry?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (hurry?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      hurry?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    hurry?.addEventListener('abort', done);
  });
}

let network = new AbortController();

/** Lets those who wait for nothing but the network try at once: it is back. */
export function hurry(): void {
  network.abort();
  network = new AbortController();
}

/** How long a call goes on trying: full jitter, within a bounded time. */
export class Patience {
  readonly #until: number;
  #attempts = 0;

  constructor(limit: number) {
    this.#until = seconds() + limit;
  }

  /** Waits before the next attempt; false, at once, if there is no time for one. */
  async pause(retryAfter = 0): Promise<boolean> {
    const limit = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** this.#attempts);
    const delay = retryAfter + Math.random() * limit;
    if (seconds() + delay > this.#until) return false;
    this.#attempts += 1;
    await pause(delay, retryAfter ? undefined : network.signal);
    return true;
  }
}
