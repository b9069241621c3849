/**
 * Every frame and body of the protocol: their types, and the shapes that check what comes.
 *
 * What a client sends is typed alone; what comes from outside is checked by its shape,
 * from which its type follows.
 */

import { badRequest } from '../errors.ts';
import {
  anything,
  either,
  flag,
  integer,
  list,
  number,
  type Of,
  object,
  oneOf,
  optional,
  parse,
  record,
  type Shape,
  text,
} from './shape.ts';

export const SUBPROTOCOL = 'pushd.v1';
/** The most ids in one ack, or in `holding`. */
export const MAX_IDS = 1000;
export const DEFAULT_WINDOW = 256;
export const MAX_WINDOW = 1000;
/** A client's name for itself. */
export const DEVICE = /^[ -~]{1,64}$/;

/** What a client calls a frame of its own; echoed in the answer as it was sent. */
export type Ref = string | number;

// --- what a mailbox holds --------------------------------------------------------------

export const message = record({
  id: text,
  from: record({ did: text, name: optional(text) }),
  payload: text,
  at: integer,
  expires: integer,
  app: optional(text),
});
/** A message as clients read it. `at` and `expires` are Unix seconds. */
export type Message = Of<typeof message>;

// --- deliveries ------------------------------------------------------------------------

/** A sender's request to put one payload into one mailbox. */
export interface Delivery {
  /** The recipient: a DID, or a name. */
  to: string;
  /** Opaque UTF-8 text; its size is limited in bytes. */
  payload: string;
  /** Makes the delivery idempotent for this sender and mailbox. */
  key?: string;
  /** Seconds until the message expires; left out: the server's maximum. */
  ttl?: number;
}

export const accepted = record({ id: text, mailbox: text, duplicate: flag });
/** The answer to a delivery that is now as durable as the server says. */
export type Accepted = Of<typeof accepted>;

/** What matters of a problem document (RFC 9457), and of an error in a frame. */
export const problem = record({
  code: text,
  detail: optional(text),
  retry_after: optional(integer),
  now: optional(number),
});

/** What counts of what a server says about itself. */
export const about = record({ features: list(text) });
/** The feature of a server that takes a delivery only with a token for its one body. */
export const DIGEST_ONLY = 'digest-only';

// --- reading over HTTP -----------------------------------------------------------------

const overflow = record({ refused: integer, since: integer });
/** How many deliveries the full mailbox refused, and since when (Unix seconds). */
export type Overflow = Of<typeof overflow>;

const continuity = oneOf('exact', 'replay');

export const unread = /* @__PURE__ */ record({
  messages: /* @__PURE__ */ list(anything),
  cursor: text,
  tail: text,
  unread: integer,
  continuity,
  overflow: /* @__PURE__ */ optional(overflow),
});
/** A page of unread messages, as `GET /v1/messages` answers. */
export type Unread = Of<typeof unread>;

// --- frames from the client ------------------------------------------------------------

/** First frame: who listens, from where, and what it still holds. */
export interface Hello {
  type: 'hello';
  token?: string;
  after?: string;
  window?: number;
  device?: string;
  holding?: string[];
}

/** These messages are safe with me, forget them: either `ids`, or all up to an id. */
export interface Ack {
  type: 'ack';
  ids?: string[];
  upto?: string;
  ref?: Ref;
}

/** I took everything up to here off the wire; keep it, and send more. */
export interface Seen {
  type: 'seen';
  upto: string;
}

/** A delivery over the stream; `token` speaks for another sender than the session. */
export interface Deliver extends Delivery {
  type: 'deliver';
  ref: Ref;
  token?: string;
}

/** A newer token of the same identity. */
export interface Renew {
  type: 'renew';
  token: string;
}

/** Asks for a `pong`. */
export interface Ping {
  type: 'ping';
  ref?: Ref;
}

export type ClientFrame = Hello | Ack | Seen | Deliver | Renew | Ping;

// --- frames from the server ------------------------------------------------------------

const ref: Shape<Ref> = (value, member) => {
  const given = either(text, integer)(value, member);
  if (typeof given === 'string' && given.length > 64) throw badRequest('ref is too long.');
  return given;
};

const FRAMES = {
  /** The session is open. `ping_interval` is in seconds. */
  welcome: record({
    session: text,
    mailbox: text,
    server: text,
    unread: integer,
    tail: text,
    continuity,
    ping_interval: integer,
    window: integer,
  }),
  /** Messages, and the cursor after the last of them. */
  messages: record({ messages: list(anything), cursor: text }),
  /** History is sent; what follows is live. */
  caught_up: record({ tail: text, cursor: text, unread: integer }),
  /** The epoch changed under this session: all unread follow from the first. */
  replay: record({ tail: text, unread: integer, reason: text }),
  /** Acked elsewhere, in the form of that ack. */
  read: record({ ids: optional(list(text)), upto: optional(text) }),
  /** Answer to an ack that had a `ref`. */
  acked: record({ ref, removed: integer }),
  /** Answer to a `deliver`: it is as durable as the server says. */
  accepted: record({ ref, id: text, mailbox: text, duplicate: flag }),
  /** Answer to a `deliver` that stored nothing. */
  refused: record({ ref, error: problem }),
  /** The mailbox was full and refused deliveries. */
  overflow,
  /** The new token counts; the session ends at `expires` (Unix seconds). */
  renewed: record({ expires: integer }),
  /** The token ends at `at` (Unix seconds); renew it. */
  expiring: record({ at: integer }),
  /** Answer to a `ping` frame. */
  pong: record({ ref: optional(ref) }),
  /** Something was refused. `now` is the server's clock in Unix seconds. */
  error: record({ code: text, detail: text, now: integer, ref: optional(ref) }),
  /** The server will close: after how many seconds to reconnect, and whether to. */
  closing: record({ reason: text, retry_after: number, reconnect: flag }),
};

type Frames = typeof FRAMES;
/** A frame of the server of one type. */
export type FrameOf<T extends keyof Frames> = { type: T } & Of<Frames[T]>;
export type ServerFrame = { [T in keyof Frames]: FrameOf<T> }[keyof Frames];
/** What another session of the mailbox acked: `ids`, or all up to an id. */
export type Read = Of<Frames['read']>;
export type Closing = FrameOf<'closing'>;

/**
 * Reads a frame of a server; undefined for one of a type from the future.
 *
 * A frame that is not JSON, or has a member of wrong type, throws `bad_request`.
 */
export function decodeServerFrame(json: string): ServerFrame | undefined {
  const given = object(parse(json, 'The frame'), 'The frame');
  const type = text(given['type'], 'type');
  if (!Object.hasOwn(FRAMES, type)) return undefined;
  const shape: Shape<object> = FRAMES[type as keyof Frames];
  return { type, ...shape(given, type) } as ServerFrame;
}
