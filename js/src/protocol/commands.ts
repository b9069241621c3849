/**
 * What a client's session asks of its driver, and what it tells about itself.
 *
 * A command that has an answer says which event of the session brings it. The status is
 * also what an app shows to people.
 */

import type { PushdError } from '../errors.ts';
import type { MessageId } from './ids.ts';
import type { Progress } from './ledger.ts';
import type { ClientFrame, Message, Overflow, Read } from './messages.ts';

/** Where a session stands. */
export type Phase =
  | 'connecting'
  | 'opening'
  | 'catching up'
  | 'live'
  | 'closing'
  | 'waiting'
  | 'stopped';

/** How a connection stands. */
export interface Status {
  phase: Phase;
  /** Messages the mailbox held when this history began. */
  unread: number;
  /** Messages that came since. */
  received: number;
  /** Seconds until the next attempt, in phase `waiting`. */
  retryIn?: number;
  /** The close code, in phases `waiting` and `stopped`. */
  code?: number;
  /** Why it was closed, a sentence for people. */
  reason: string;
}

/** The stream ended for good: coming back by itself would be wrong. */
export class StreamClosed extends Error {
  override name = 'StreamClosed';
  readonly code: number;
  /** What the server refused, if it said so before closing. */
  readonly error: PushdError | undefined;

  constructor(code: number, reason: string, error?: PushdError) {
    super(reason);
    this.code = code;
    this.error = error;
  }
}

export type Command =
  /**
   * Connect in `delay` seconds; with `newToken`, a token that was never used. Answer with
   * `connected`, or with `closed`.
   */
  | { do: 'connect'; delay: number; newToken: boolean }
  /** Send this frame. */
  | { do: 'send'; frame: ClientFrame }
  /** Call the listeners. Answer with `handled`, `held` or `failed`. */
  | { do: 'dispatch'; id: MessageId; message: Message }
  /** Make a token. Answer with `renewed`. */
  | { do: 'make token' }
  /** Keep this across restarts; the latest counts, and it may be late. */
  | { do: 'save'; progress: Progress }
  /** Tell the app how the connection stands, or what the server said. */
  | { do: 'tell'; status?: Status; read?: Read; overflow?: Overflow }
  /** Close the connection. Answer with `closed`. */
  | { do: 'close'; code: number; reason: string }
  /** It is over; `error` says why, undefined if the app wanted it. */
  | { do: 'stop'; error: StreamClosed | undefined };
