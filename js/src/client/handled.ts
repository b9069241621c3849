/**
 * What was handled, by sender and message ID: each message is handled once.
 *
 * The same message may come over two servers, where a sender gave up waiting for an answer
 * of the first, or again after its recipient lost its cursor.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import { hex, utf8 } from '../identity/bytes.ts';
import { Recent } from '../protocol/recent.ts';
import { Duplicate, NotYet, type Received } from './listeners.ts';

/** Messages that are remembered. */
const REMEMBERED = 4096;
/** Seconds after which a copy asks again what became of the one that came first. */
const WAIT = 10;

export class Handled {
  /** Whether it is more, since this was last set to false. */
  changed = false;
  readonly #marks = new Recent<true>(REMEMBERED);
  readonly #first = new Map<string, Received<never>>();

  /** What to remember, the oldest first; no ID can be read from it. */
  get marks(): string[] {
    return [...this.#marks.keys()];
  }

  /** Takes what was remembered before a restart. */
  recall(marks: string[]): void {
    for (const mark of marks) this.#marks.set(mark, true);
  }

  /**
   * Takes a message that was opened; notes it as handled once it is acked.
   *
   * Throws `Duplicate` if it was handled before, `NotYet` if a copy is being handled.
   *
   * @param id The message's ID, from its envelope.
   */
  enter(message: Received<never>, id: string): void {
    const mark = hex(sha256(utf8(`${message.sender} ${id}`))).slice(0, 32);
    if (this.#marks.has(mark)) throw new Duplicate();
    const first = this.#first.get(mark);
    if (first && first !== message) throw new NotYet(WAIT);
    this.#first.set(mark, message);
    message.onAck = () => this.#add(mark);
    message.onLeave = () => {
      if (this.#first.get(mark) === message) this.#first.delete(mark);
    };
  }

  #add(mark: string): void {
    this.changed = true;
    this.#first.delete(mark);
    this.#marks.set(mark, true);
  }
}
