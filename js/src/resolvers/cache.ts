/**
 * What sources said, remembered as long as it may be believed, and asked for only once.
 *
 * How long an answer counts, in seconds since the source was asked: a value 600, then it is
 * asked anew, and while the source is down until 3600; that there is nothing, 60; that
 * nobody answered, 5, or 10 where there is an old value to go on with.
 */

import { PushdError, Unproven } from '../errors.ts';
import { Recent } from '../protocol/recent.ts';

/** Keys that are remembered. */
export const SIZE = 1000;
const FRESH = 600;
const STALE = 3600;
const NEGATIVE = 60;
const RETRY = 10;
const FAILURE = 5;

/** A source said what is older than what was known: no news, as if it were down. */
export class Outdated extends Unproven {}

interface Entry<V> {
  asked: number;
  /** When to ask anew. */
  current: number;
  value?: V | undefined;
  /** Until when the value may be used if its source is down. */
  usable: number;
  error?: Error;
}

/** Remembers answers by key, and asks for each only once at a time. */
export class Cache<V> {
  readonly #clock: () => number;
  readonly #expires: (value: V) => number;
  readonly #entries = new Recent<Entry<V>>(SIZE);
  readonly #asking = new Map<string, Promise<Entry<V>>>();

  /** @param expires Returns the Unix seconds up to which a value may be used at all. */
  constructor(clock: () => number, expires: (value: V) => number = () => Infinity) {
    this.#clock = clock;
    this.#expires = expires;
  }

  /**
   * Returns a value from memory, or asks for it.
   *
   * @param ask Asks; throws `Unproven` if there is nothing, or `resolver_unavailable`.
   */
  async get(key: string, ask: () => Promise<V>): Promise<V> {
    let entry = this.#entries.get(key);
    // An entry of the future is from before the clock was set back.
    const now = this.#clock();
    if (!entry || now < entry.asked || now >= entry.current) {
      let asking = this.#asking.get(key);
      if (!asking) {
        asking = this.#ask(key, ask).finally(() => this.#asking.delete(key));
        this.#asking.set(key, asking);
      }
      entry = await asking;
    }
    if (entry.error) throw entry.error;
    return entry.value as V;
  }

  /** Returns the value last learnt, however old. */
  believed(key: string): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Has it asked for anew, not earlier than 10 s after it was last asked for. */
  forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry) entry.current = Math.min(entry.current, entry.asked + RETRY);
  }

  async #ask(key: string, ask: () => Promise<V>): Promise<Entry<V>> {
    const asked = this.#clock();
    let entry: Entry<V>;
    try {
      const value = await ask();
      const usable = Math.min(asked + STALE, this.#expires(value));
      entry = { asked, current: Math.min(asked + FRESH, usable), value, usable };
    } catch (error) {
      entry = this.#fail(key, asked, error as Error);
    }
    this.#entries.set(key, entry);
    return entry;
  }

  #fail(key: string, asked: number, error: Error): Entry<V> {
    const now = this.#clock();
    const isDown = error instanceof PushdError && error.status === 503;
    const last = this.#entries.get(key);
    if ((isDown || error instanceof Outdated) && last?.value !== undefined && now < last.usable) {
      return { ...last, asked, current: Math.min(now + RETRY, last.usable) };
    }
    if (isDown) return { asked, current: now + FAILURE, usable: 0, error };
    if (error instanceof Unproven) return { asked, current: asked + NEGATIVE, usable: 0, error };
    throw error;
  }
}
