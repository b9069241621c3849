/**
 * The queue: messages that wait to be sent, kept across reloads and shared by tabs.
 *
 * A draft is kept before anything of it is sent, and again once it was sealed: so whenever it
 * is tried anew, by this page or a later one, it is the same delivery under the same key.
 * What a recipient's server, or the hub, cannot take now is tried again, with more and more
 * patience. Those to one recipient go in the order in which they were written.
 */

import { GaiaError, PushdError, Unreachable } from '../errors.ts';
import { BACKOFF_BASE, BACKOFF_CAP } from '../protocol/session.ts';
import { type Clock, pause } from './clock.ts';
import { asError, Callbacks } from './listeners.ts';
import type { Draft, Sent } from './outbox.ts';
import type { Store } from './store.ts';
import { exclusively, Tabs } from './tabs.ts';

/** Seconds after which a draft is given up: servers remember a key for 7 days. */
const GIVEN_UP = 6 * 86_400;

export interface QueueOptions {
  /** DID of the sender. */
  identity: string;
  store: Store;
  clock: Clock;
  /** Whether other tabs learn what became of a draft. */
  tabs: boolean;
  /** Sends a draft; `keep` keeps what was added to it. */
  send: (draft: Draft, keep: (draft: Draft) => Promise<void>) => Promise<Sent>;
}

interface Waiting {
  sent: Promise<Sent>;
  resolve: (sent: Sent) => void;
  reject: (error: Error) => void;
}

/** Sends drafts, now or later. */
export class Queue {
  readonly sent = new Callbacks<[Sent]>();
  readonly unsent = new Callbacks<[Draft, Error]>();
  readonly #options: QueueOptions;
  readonly #name: string;
  readonly #tabs: Tabs;
  readonly #waiting = new Map<string, Waiting>();
  readonly #lanes = new Set<string>();
  readonly #due = new Set<string>();
  #paused = true;
  #hurry = new AbortController();

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#name = `queue ${options.identity}`;
    this.#tabs = new Tabs(this.#name, options.tabs, told => this.#told(told));
  }

  /**
   * Keeps a draft, and returns once it was sent; it may be long until then.
   *
   * An ID has one message: one that waits already stays as it is, with what was sealed of it.
   */
  async add(draft: Draft): Promise<Sent> {
    const waits = this.#waiting.get(draft.id);
    if (waits) return waits.sent;
    let settle!: Omit<Waiting, 'sent'>;
    const sent = new Promise<Sent>((resolve, reject) => (settle = { resolve, reject }));
    this.#waiting.set(draft.id, { ...settle, sent });
    sent.catch(() => {}); // whoever waits for it hears of it
    try {
      if (!(await this.#draft(draft.id))) await this.#keep(draft);
      await this.#change(ids => [...ids.filter(id => id !== draft.id), draft.id]);
    } catch (error) {
      this.#waiting.delete(draft.id);
      throw error;
    }
    if (!this.#paused) this.#go(draft.to);
    return sent;
  }

  /** Returns the drafts that wait, the oldest first. */
  async drafts(): Promise<Draft[]> {
    const drafts = await Promise.all((await this.#ids()).map(id => this.#draft(id)));
    return drafts.filter(draft => draft !== undefined);
  }

  /** Begins to send what waits, also what an earlier page left. */
  start(): void {
    this.#paused = false;
    void this.drafts().then(drafts => {
      for (const { to } of drafts) this.#go(to);
    }, notKept);
  }

  /** Sends nothing more until `start`; what is under way goes on. */
  pause(): void {
    this.#paused = true;
    this.hurry();
  }

  /** Sends nothing more, nor tells other tabs; what is under way is tried again later. */
  stop(): void {
    this.pause();
    this.#tabs.close();
  }

  /** Tries again at once, as the network is back. */
  hurry(): void {
    this.#hurry.abort();
    this.#hurry = new AbortController();
  }

  // --- sending -------------------------------------------------------------------------

  /** Sends what waits for a recipient; the lanes of others do not wait for it. */
  #go(to: string): void {
    this.#due.add(to);
    if (this.#lanes.has(to)) return;
    this.#lanes.add(to);
    void this.#lane(to).finally(() => {
      this.#lanes.delete(to);
      if (this.#due.has(to) && !this.#paused) this.#go(to); // more came at the last moment
    });
  }

  async #lane(to: string): Promise<void> {
    for (let attempts = 0; !this.#paused && this.#due.delete(to); ) {
      const pass = exclusively(`${this.#name} to ${to}`, () => this.#pass(to));
      if (await pass.catch(notKept)) continue;
      if (this.#paused) return;
      this.#due.add(to);
      const limit = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** attempts++);
      await pause(limit / 2 + (Math.random() * limit) / 2, this.#hurry.signal);
    }
  }

  /** Tries what waits for a recipient, in order; tells whether nothing is left. */
  async #pass(to: string): Promise<boolean> {
    for (const draft of await this.drafts()) {
      if (draft.to === to && (this.#paused || !(await this.#try(draft)))) return false;
    }
    return true;
  }

  /** Tries a draft; tells whether it is settled. */
  async #try(draft: Draft): Promise<boolean> {
    let outcome: Sent | Error;
    try {
      outcome = await this.#options.send(draft, kept => this.#keep(kept));
    } catch (thrown) {
      outcome = asError(thrown);
      if (passesByItself(outcome)) {
        if (this.#options.clock() - draft.at < GIVEN_UP) return false;
        outcome = new Unreachable(`It could not be sent for days. ${outcome.message}`);
      }
    }
    // What stays in the store is tried again by a later page, and is the same delivery.
    await this.#remove(draft).catch(notKept);
    if (outcome instanceof Error) {
      const { name, message, code, retryAfter } = outcome as PushdError;
      this.#settle({ unsent: draft, error: { name, message, code, retryAfter } }, outcome);
    } else this.#settle({ sent: { ...outcome, draft: draft.id } });
    return true;
  }

  #settle(posted: Record<string, unknown>, error?: Error): void {
    this.#tabs.post(posted);
    this.#told(posted, error);
  }

  /** Takes what became of a draft, of this tab or another. */
  #told(posted: Record<string, unknown>, thrown?: Error): void {
    if (posted['sent']) {
      const { draft, ...sent } = posted['sent'] as Sent & { draft: string };
      this.#waiting.get(draft)?.resolve(sent);
      this.#waiting.delete(draft);
      this.sent.tell(sent);
    } else if (posted['unsent']) {
      const draft = posted['unsent'] as Draft;
      const error = thrown ?? errorOf(posted['error'] as PushdError);
      this.#waiting.get(draft.id)?.reject(error);
      this.#waiting.delete(draft.id);
      this.unsent.tell(draft, error);
    }
  }

  // --- what is kept --------------------------------------------------------------------

  async #ids(): Promise<string[]> {
    return ((await this.#options.store.get(this.#name)) as string[] | undefined) ?? [];
  }

  async #draft(id: string): Promise<Draft | undefined> {
    return (await this.#options.store.get(`${this.#name} ${id}`)) as Draft | undefined;
  }

  #keep(draft: Draft): Promise<void> {
    return this.#options.store.set(`${this.#name} ${draft.id}`, draft);
  }

  async #remove({ id }: Draft): Promise<void> {
    await this.#change(ids => ids.filter(one => one !== id));
    await this.#options.store.set(`${this.#name} ${id}`, undefined);
  }

  #change(change: (ids: string[]) => string[]): Promise<void> {
    return exclusively(this.#name, async () => {
      await this.#options.store.set(this.#name, change(await this.#ids()));
    });
  }
}

/** Says that the store fails; what waits is tried again. */
function notKept(error: unknown): void {
  console.error('What waits is not kept:', asError(error).name);
}

/** Tells whether it may go well later, without anybody doing anything. */
function passesByItself(error: Error): boolean {
  if (error instanceof PushdError) return error.status === 429 || error.status === 503;
  if (error instanceof GaiaError) return ![401, 402, 403, 412, 413].includes(error.status ?? 0);
  return error instanceof Unreachable;
}

/** Makes an error of what another tab says about it. */
function errorOf({ name, message, code, retryAfter }: PushdError): Error {
  if (code) return new PushdError(code, message, retryAfter);
  return Object.assign(new Error(message), { name });
}
