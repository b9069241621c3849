/**
 * Message ids and cursors: where a message stands in its mailbox.
 *
 * A message id is `<epoch>-<seq>`. Within an epoch `seq` counts 1, 2, 3... without gaps; a
 * new epoch begins whenever the store cannot vouch for continuity. A cursor is the id up to
 * which a client has handled everything, together with the epoch in which it was told so:
 * `<id>` when that is the id's own epoch, else `<id>@<epoch>`.
 */

import { badRequest } from '../errors.ts';

const ID = /^(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})$/;

/** Place of a message in its mailbox. */
export class MessageId {
  /** Which stretch of unbroken numbering. */
  readonly epoch: number;
  /** Place within the epoch, from 1; 0 stands before its first message. */
  readonly seq: number;

  constructor(epoch: number, seq: number) {
    this.epoch = epoch;
    this.seq = seq;
  }

  /** Reads `<epoch>-<seq>`: two canonical decimals below 2^53. */
  static parse(text: string): MessageId {
    const [, epoch, seq] = ID.exec(text) ?? [];
    const id = new MessageId(Number(epoch), Number(seq));
    if (!Number.isSafeInteger(id.epoch) || !Number.isSafeInteger(id.seq)) {
      throw badRequest('An id is <epoch>-<seq>, two canonical decimals below 2^53.');
    }
    return id;
  }

  /** Tells whether an ack up to this id removes `other`: it stays in its epoch. */
  covers(other: MessageId): boolean {
    return this.epoch === other.epoch && this.seq >= other.seq;
  }

  /** Tells whether this id stands before the other, or is it. */
  isUpTo(other: MessageId): boolean {
    return this.epoch < other.epoch || (this.epoch === other.epoch && this.seq <= other.seq);
  }

  toString(): string {
    return `${this.epoch}-${this.seq}`;
  }
}

/** Point up to which a client has handled everything. */
export class Cursor {
  /** Reading goes on after this id. */
  readonly id: MessageId;
  /** The epoch that was current when the cursor was given out. */
  readonly epoch: number;

  constructor(id: MessageId, epoch: number) {
    this.id = id;
    this.epoch = epoch;
  }

  /** Reads `<id>` or `<id>@<epoch>`. */
  static parse(text: string): Cursor {
    const at = text.indexOf('@');
    if (at < 0) {
      const id = MessageId.parse(text);
      return new Cursor(id, id.epoch);
    }
    const { epoch } = MessageId.parse(`${text.slice(at + 1)}-0`);
    return new Cursor(MessageId.parse(text.slice(0, at)), epoch);
  }

  /** Tells whether nothing can be missing between this cursor and `tail`. */
  continues(tail: MessageId): boolean {
    return this.epoch === tail.epoch && this.id.isUpTo(tail);
  }

  toString(): string {
    return this.epoch === this.id.epoch ? `${this.id}` : `${this.id}@${this.epoch}`;
  }
}
