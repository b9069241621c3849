/** Listeners: who is called with a message, and whether it counts as handled then. */

import type { MessageId } from '../protocol/ids.ts';
import type { Message } from '../protocol/messages.ts';

/** Takes back what became of a message. */
export interface Recipient {
  /** Ack a message: it is safe with the app. */
  handled(id: MessageId): void;
  /** Wait for the app to ack: the listeners are done. */
  held(id: MessageId): void;
  /** Leave a message unread; it comes again with the next connection. */
  failed(id: MessageId): void;
}

/** A message as listeners of a `Receiver` get it. */
export class Received<C = unknown> {
  /** As it came. */
  readonly message: Message;
  /** Its place in the mailbox. */
  readonly id: string;
  /** DID of the sender, verified by the server. */
  readonly sender: string;
  /** Name of the sender, if the server verified one. */
  readonly name: string | undefined;
  /** Web origin of the app the name belongs to. */
  readonly app: string | undefined;
  /** Opaque text, as it was delivered. */
  readonly payload: string;
  /** When it was accepted, in Unix seconds. */
  readonly at: number;
  /** When the server forgets it anyway, in Unix seconds. */
  readonly expires: number;
  /** Canonical URL of the server that brought it. */
  readonly server: string;
  /** What the receiver's `open` made of it. */
  content: C | undefined;
  /** Whether `ack` was called. */
  acked = false;
  /** Whether the app, or a later attempt to open it, settles it. */
  held = false;
  /** Called once, when `ack` is. */
  onAck: (() => void) | undefined;
  /** Called whenever `leave` is. */
  onLeave: (() => void) | undefined;
  readonly #place: MessageId;
  readonly #recipient: Recipient;

  constructor(place: MessageId, message: Message, recipient: Recipient, server: string) {
    this.message = message;
    this.id = message.id;
    this.sender = message.from.did;
    this.name = message.from.name;
    this.app = message.app;
    this.payload = message.payload;
    this.at = message.at;
    this.expires = message.expires;
    this.server = server;
    this.#place = place;
    this.#recipient = recipient;
  }

  /**
   * Tells the server to forget the message: it is safe with the app.
   *
   * Needed when the receiver acks manually; also gives up a message that an error listener
   * decides nobody can handle. More than once is once.
   */
  ack(): void {
    if (this.acked) return;
    this.acked = true;
    this.#recipient.handled(this.#place);
    this.onAck?.();
  }

  /** Leaves the ack to the app, or to a later attempt to open it. */
  hold(): void {
    if (this.acked) return;
    this.held = true;
    this.#recipient.held(this.#place);
  }

  /** Leaves the message unread, to come again with the next connection. */
  leave(): void {
    if (this.acked) return;
    this.#recipient.failed(this.#place);
    this.onLeave?.();
  }
}

/** Thrown by a listener: leave the message unread, and do not call that an error. */
export class NotHandled extends Error {
  override name = 'NotHandled';
}

/** Thrown by an `open`: the message cannot be opened now, and is tried again. */
export class NotYet extends Error {
  override name = 'NotYet';
  readonly seconds: number;
  /** What the error listeners are told, the first time; undefined tells nothing. */
  readonly reason: Error | undefined;

  constructor(seconds: number, reason?: Error) {
    super(`Try again in ${seconds} seconds.`);
    this.seconds = seconds;
    this.reason = reason;
  }
}

/** Thrown by an `open`: this was handled before, so it is acked and nobody called. */
export class Duplicate extends Error {
  override name = 'Duplicate';
}

/** Takes a message; may be asynchronous. */
export type Callback<M> = (message: M) => unknown;
/** Tells whether a listener wants a message. */
export type Filter<M> = (message: M) => unknown;
/** Takes why a message was not handled, and the message; may be asynchronous. */
export type ErrorCallback<C = unknown> = (error: Error, message: Received<C>) => unknown;
/** One callback, until it is cancelled. */
export interface Listener {
  /** Calls it no more; more than once is once. */
  cancel(): void;
}

/** How messages are acked and opened. */
export interface ListenersOptions<C> {
  /** `auto` acks a message once its listeners returned; `manual` leaves that to `ack()`. */
  ack?: 'auto' | 'manual' | undefined;
  /** Makes `content` of a message before any filter sees it. */
  open?: ((message: Received<C>) => C | Promise<C>) | undefined;
}

/** All callbacks of a receiver, and the rule by which a message is settled. */
export class Listeners<C = unknown> {
  /** Whether a message came that no listener handled, and none refused. */
  unwanted = false;
  readonly errors = new Callbacks<[Error, Received<C>]>();
  /** Called when somebody began to listen. */
  readonly added = new Callbacks<[]>();
  readonly #options: ListenersOptions<C>;
  readonly #all = new Set<{ callback: Callback<Received<C>>; filter: Filter<Received<C>> }>();

  constructor(options: ListenersOptions<C>) {
    this.#options = options;
  }

  /** Calls back with the messages a filter lets through; without one, with all. */
  add(callback: Callback<Received<C>>, filter: Filter<Received<C>> = () => true): Listener {
    const listener = { callback, filter };
    this.#all.add(listener);
    this.added.call();
    return { cancel: () => this.#all.delete(listener) };
  }

  get size(): number {
    return this.#all.size;
  }

  /**
   * Makes the content of a message, or settles it without; tells whether the listeners can
   * be called with it. Throws `NotYet` if it is to be opened later; until then it is held.
   */
  async open(message: Received<C>): Promise<boolean> {
    try {
      message.content = await this.#options.open?.(message);
      return true;
    } catch (error) {
      if (error instanceof Duplicate) message.ack();
      else if (error instanceof NotYet) {
        const again = message.held;
        message.hold();
        if (error.reason && !again) await this.#report(error.reason, message);
        throw error;
      } else {
        message.leave();
        await this.#report(asError(error), message);
      }
      return false;
    }
  }

  /**
   * Takes an opened message to everybody who wants it, then settles it.
   *
   * @param others Asked when nobody here handled it: it may settle the message later.
   */
  async call(message: Received<C>, others?: (message: Received<C>) => boolean): Promise<void> {
    const errors: Error[] = [];
    const handled = await this.#call(message, errors);
    if (errors.length) {
      message.leave();
      for (const error of errors) await this.#report(error, message);
    } else if (!handled) {
      if (others?.(message)) return message.hold();
      this.unwanted = true;
      message.leave();
    } else if (this.#options.ack === 'manual') message.hold();
    else message.ack();
  }

  /** Calls who wants it; one that fails keeps no other from being called. */
  async #call(message: Received<C>, errors: Error[]): Promise<boolean> {
    let handled = false;
    // A set goes on with what is added meanwhile: whoever came to listen while all others
    // declined is asked as well.
    const first = this.#all.size;
    let asked = 0;
    for (const listener of this.#all) {
      if (asked++ >= first && (handled || errors.length || message.acked)) break;
      try {
        if (!listener.filter(message)) continue;
        await listener.callback(message);
        handled = true;
      } catch (error) {
        if (!(error instanceof NotHandled)) errors.push(asError(error));
      }
    }
    return handled || message.acked;
  }

  async #report(error: Error, message: Received<C>): Promise<void> {
    // The kind only: its text may quote what was opened.
    if (!this.errors.size) console.error(`Message ${message.id} was not handled:`, error.name);
    await this.errors.call(error, message);
  }
}

/** Callbacks that cannot keep anything from going on. */
export class Callbacks<A extends unknown[]> {
  readonly #all = new Set<(...told: A) => unknown>();

  get size(): number {
    return this.#all.size;
  }

  /** Adds one, and returns a function that takes it away. */
  add(callback: (...told: A) => unknown): () => void {
    this.#all.add(callback);
    return () => this.#all.delete(callback);
  }

  /** Calls all, one after the other. */
  async call(...told: A): Promise<void> {
    for (const callback of [...this.#all]) {
      try {
        await callback(...told);
      } catch (error) {
        console.error('A callback failed:', asError(error).name);
      }
    }
  }

  /** Calls all, and waits for none. */
  tell(...told: A): void {
    void this.call(...told);
  }
}

export const asError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(String(thrown));
