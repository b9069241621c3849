/**
 * What a client has handled: its cursor, its acks, and the duplicates it drops.
 *
 * Theory of operation. Messages arrive in the order of the mailbox, and are handled in any
 * order. `#waiting` holds those that arrived and are not handled, in order, each with the
 * cursor that stood before it. So the cursor is the one before the first of them, or, when
 * nothing waits, the one after the last arrival: it can not pass a message that is not
 * handled, and memory grows with what waits only.
 *
 * A connection begins again after the cursor: what waited is forgotten, for the server sends
 * it again. A replay begins at the first unread message: the cursor is forgotten too, until
 * messages are handled from there.
 *
 * An ack is owed from the moment a message is handled until the server confirmed it. Owed
 * acks and cursor are saved together, or a message whose ack was lost would stay in the
 * mailbox unseen, behind the cursor.
 */

import { badRequest } from '../errors.ts';
import { Cursor, MessageId } from './ids.ts';
import { type Ack, MAX_IDS, type Read, type Ref } from './messages.ts';
import { Recent } from './recent.ts';
import { list, type Of, optional, record, text } from './shape.ts';

/** Handled ids that are remembered, to drop the duplicates of a replay. */
const REMEMBERED = 10_000;

/** The shape of what a store gives back. */
export const progress = record({
  cursor: optional(text),
  acks: list(text),
  upto: list(text),
});
/**
 * What a client keeps across restarts: the `cursor` up to which everything was handled (left
 * out: begin at the first unread), the ids whose `acks` the server has not confirmed, and the
 * ids up to which (`upto`) everything of their epoch was handled, unconfirmed too.
 */
export type Progress = Of<typeof progress>;

/** The books of one mailbox, for one client. */
export class Ledger {
  /** The acks the server has not confirmed. */
  readonly owed: Owed;
  /** How many messages are with the listeners. */
  running = 0;
  // Where a message is, while it is neither handled nor only in the mailbox: with the
  // listeners, or kept by the app, which will ack it.
  readonly #places = new Map<string, 'running' | 'held'>();
  readonly #handled = new Recent<true>(REMEMBERED);
  readonly #waiting = new Map<string, { id: MessageId; before: Cursor | undefined }>();
  #reached: Cursor | undefined;

  constructor(progress: Progress) {
    this.owed = new Owed(progress);
    for (const name of this.owed.ids.keys()) this.#handled.set(name, true);
    this.#reached = progress.cursor === undefined ? undefined : Cursor.parse(progress.cursor);
  }

  /** Point up to which everything was handled; undefined before the first unread. */
  get cursor(): Cursor | undefined {
    for (const { before } of this.#waiting.values()) return before;
    return this.#reached;
  }

  /** The first of the messages that arrived and are not handled. */
  get holding(): string[] {
    return [...this.#waiting.keys()].slice(0, MAX_IDS);
  }

  /** Whether all that arrived was handled, and the server confirmed every ack. */
  get settled(): boolean {
    return !this.#waiting.size && this.owed.settled;
  }

  /** Returns what has to survive a restart. */
  progress(): Progress {
    const { cursor } = this;
    const { ids, upto } = this.owed.everything();
    return {
      ...(cursor && { cursor: `${cursor}` }),
      acks: ids.map(String),
      upto: upto.map(String),
    };
  }

  // --- what the server says ------------------------------------------------------------

  /** Begins a connection after the cursor: what waits there is sent again. */
  resume(): void {
    this.#reached = this.cursor;
    this.#waiting.clear();
  }

  /** Begins again at the first unread message. */
  restart(): void {
    this.#reached = undefined;
    this.#waiting.clear();
  }

  /**
   * Enters a message that came, in a frame whose cursor is of this epoch, and tells whether
   * it goes to the listeners; if not, it is a duplicate.
   *
   * One that comes after a later one of its epoch throws `bad_request`, as the cursor would
   * no longer mean anything.
   */
  arrived(id: MessageId, epoch: number): boolean {
    const name = `${id}`;
    const again = this.#handled.has(name);
    const known = again || this.#waiting.has(name) || this.#places.has(name);
    if (this.#overtaken(id)) {
      if (!known) throw badRequest('The server sent a message after a later one.');
    } else if (!this.#waiting.has(name)) {
      if (!again) this.#waiting.set(name, { id, before: this.#reached });
      this.#reached = new Cursor(id, epoch);
    }
    if (again) this.owed.add(id);
    if (again || this.#places.has(name)) return false;
    this.#places.set(name, 'running');
    this.running += 1;
    return true;
  }

  #overtaken(id: MessageId): boolean {
    return this.#reached !== undefined && this.#reached.id.covers(id);
  }

  /** Takes the cursor after all of history; it counts once that is handled. */
  caughtUp(cursor: Cursor): void {
    this.#reached = cursor;
  }

  /** Strikes what was acked elsewhere: it waits no longer. */
  gone(read: Read): void {
    for (const name of named(read, this.#waiting)) {
      this.#waiting.delete(name);
      if (this.#places.get(name) === 'held') this.#places.delete(name);
    }
  }

  // --- what the listeners say ----------------------------------------------------------

  /** Owes an ack: this message is safe with the app. */
  handled(id: MessageId): void {
    const name = `${id}`;
    this.#leave(name);
    this.#waiting.delete(name);
    this.#handled.set(name, true);
    this.owed.add(id);
  }

  /** Notes that the listeners are done, and the app will ack later. */
  held(id: MessageId): void {
    const name = `${id}`;
    if (this.#places.has(name)) {
      this.#leave(name);
      this.#places.set(name, 'held');
    }
  }

  /** Notes that nobody handled it: it stays unread, for the next connection. */
  failed(id: MessageId): void {
    this.#leave(`${id}`);
  }

  #leave(name: string): void {
    if (this.#places.get(name) === 'running') this.running -= 1;
    this.#places.delete(name);
  }
}

/** Acks from the moment they are due until the server confirmed them. */
export class Owed {
  /** Messages to ack, in order, by their names. */
  ids: Map<string, MessageId>;
  /** Whether anything changed since this was last set to false. */
  changed = false;
  #upto = new Map<number, MessageId>();
  readonly #unconfirmed = new Map<Ref, MessageId[] | MessageId>();
  #ref = 0;

  constructor(progress: Progress) {
    this.ids = new Map(progress.acks.map(text => [text, MessageId.parse(text)]));
    for (const text of progress.upto) this.#addUpto(MessageId.parse(text));
  }

  /** Whether there are acks to say. */
  get due(): boolean {
    return this.ids.size > 0 || this.#upto.size > 0;
  }

  /** Whether the server confirmed everything. */
  get settled(): boolean {
    return !this.due && !this.#unconfirmed.size;
  }

  /** Owes the ack of a message. */
  add(id: MessageId): void {
    this.ids.set(`${id}`, id);
    this.changed = true;
  }

  #addUpto(id: MessageId): void {
    const other = this.#upto.get(id.epoch);
    if (!other?.covers(id)) this.#upto.set(id.epoch, id);
  }

  /**
   * Turns what is due into frames, each to be confirmed by its `ref`.
   *
   * What the cursor covers is acked by one id up to which everything of its epoch was
   * handled, the rest by name.
   */
  frames(cursor: Cursor | undefined): Ack[] {
    let last: MessageId | undefined;
    for (const [name, id] of this.ids) {
      if (cursor?.id.covers(id)) {
        this.ids.delete(name);
        if (!last?.covers(id)) last = id;
      }
    }
    if (last) this.#addUpto(last);
    const ids = [...this.ids.values()];
    const upto = [...this.#upto.values()];
    this.ids = new Map();
    this.#upto = new Map();
    const frames = upto.map(id => this.#frame(id));
    for (let start = 0; start < ids.length; start += MAX_IDS) {
      frames.push(this.#frame(ids.slice(start, start + MAX_IDS)));
    }
    return frames;
  }

  #frame(what: MessageId[] | MessageId): Ack {
    const ref = ++this.#ref;
    this.#unconfirmed.set(ref, what);
    return what instanceof MessageId
      ? { type: 'ack', upto: `${what}`, ref }
      : { type: 'ack', ids: what.map(String), ref };
  }

  /** Forgets an ack: the server carried it out. */
  confirmed(ref: Ref): void {
    this.#unconfirmed.delete(ref);
    this.changed = true;
  }

  /** Owes an ack again that the server could not carry out; tells whether `ref` was one. */
  refused(ref: Ref): boolean {
    const what = this.#unconfirmed.get(ref);
    this.#unconfirmed.delete(ref);
    if (what instanceof MessageId) this.#addUpto(what);
    else for (const id of what ?? []) this.ids.set(`${id}`, id);
    return what !== undefined;
  }

  /** Owes everything again that is not confirmed: the connection is gone. */
  lost(): void {
    for (const ref of [...this.#unconfirmed.keys()]) this.refused(ref);
  }

  /** Returns all that is not confirmed: by name, and by the id up to which. */
  everything(): { ids: MessageId[]; upto: MessageId[] } {
    const ids = [...this.ids.values()];
    const upto = [...this.#upto.values()];
    for (const what of this.#unconfirmed.values()) {
      if (what instanceof MessageId) upto.push(what);
      else ids.push(...what);
    }
    return { ids, upto };
  }
}

/** Returns the names a `read` frame speaks of; for an `upto`, those that wait. */
function named(read: Read, waiting: Map<string, { id: MessageId }>): string[] {
  if (read.ids) return read.ids.map(text => `${MessageId.parse(text)}`);
  if (read.upto === undefined) return [];
  const upto = MessageId.parse(read.upto);
  return [...waiting].filter(([, { id }]) => upto.covers(id)).map(([name]) => name);
}
