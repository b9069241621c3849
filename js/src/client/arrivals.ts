/**
 * Messages on their way to the listeners: some are opened ahead, all are called in order.
 *
 * What cannot be opened yet is put off, and comes again at the end of the line.
 */

import { type Listeners, NotYet, type Received } from './listeners.ts';

/** Messages that are opened at once, ahead of those the listeners have. */
const OPENED_AHEAD = 8;
/** Messages that wait to be opened again; more are left for the next connection. */
const PUT_OFF = 1000;

interface Arrival<C> {
  message: Received<C>;
  opened: Promise<boolean> | undefined;
}

export class Arrivals<C> {
  readonly #listeners: Listeners<C>;
  readonly #call: (message: Received<C>) => Promise<void>;
  #line: Arrival<C>[] = [];
  #working: Promise<void> | undefined;
  readonly #putOff = new Map<Received<C>, ReturnType<typeof setTimeout>>();

  /** @param call Calls the listeners with a message that was opened. */
  constructor(listeners: Listeners<C>, call: (message: Received<C>) => Promise<void>) {
    this.#listeners = listeners;
    this.#call = call;
  }

  /** Takes a message that came; it may have been opened elsewhere. */
  take(message: Received<C>, opened?: Promise<boolean>): void {
    this.#line.push({ message, opened });
    this.#working ??= this.#work();
  }

  /** Drops what waits, and returns once the listeners are done with what they have. */
  async drop(): Promise<void> {
    this.#line = [];
    await this.#working;
  }

  /** Opens nothing again of what was put off. */
  close(): void {
    for (const again of this.#putOff.values()) clearTimeout(again);
  }

  async #work(): Promise<void> {
    for (;;) {
      for (const arrival of this.#line.slice(0, 1 + OPENED_AHEAD)) {
        arrival.opened ??= this.#open(arrival.message);
      }
      const [arrival] = this.#line;
      if (!arrival) break;
      const opened = await arrival.opened;
      if (opened && this.#line[0] === arrival) await this.#call(arrival.message);
      if (this.#line[0] === arrival) this.#line.shift();
    }
    this.#working = undefined;
  }

  async #open(message: Received<C>): Promise<boolean> {
    try {
      return await this.#listeners.open(message);
    } catch (error) {
      if (!(error instanceof NotYet)) throw error;
      this.#openLater(message, error.seconds);
      return false;
    }
  }

  #openLater(message: Received<C>, seconds: number): void {
    if (this.#putOff.size >= PUT_OFF) return message.leave();
    const again = () => {
      this.#putOff.delete(message);
      if (!message.acked) this.take(message);
    };
    this.#putOff.set(message, setTimeout(again, seconds * 1000));
  }
}
