/**
 * What may go wrong: the errors of the protocol by their codes, and those of a client.
 *
 * A sentence holds nothing of a token, a key or a payload, so an app can show and log it.
 */

/** Every code of the protocol, with the HTTP status it comes with. */
export const ERRORS = {
  bad_request: 400,
  unauthorized: 401,
  token_expired: 401,
  forbidden: 403,
  name_mismatch: 403,
  unknown_mailbox: 404,
  not_found: 404,
  method_not_allowed: 405,
  key_conflict: 409,
  payload_too_large: 413,
  rate_limited: 429,
  too_many_sessions: 429,
  mailbox_full: 507,
  resolver_unavailable: 503,
  store_unavailable: 503,
  overloaded: 503,
  internal: 500,
} as const;

/** Stable name of an error; part of the protocol. */
export type ErrorCode = keyof typeof ERRORS;

/** An error of the protocol: a server refuses, or what was given is not as it has to be. */
export class PushdError extends Error {
  override name = 'PushdError';
  readonly code: ErrorCode;
  /** The HTTP status that goes with the code. */
  readonly status: number;
  /** Seconds after which a retry may help; undefined where a retry cannot. */
  readonly retryAfter: number | undefined;

  /** An unknown code, of a server newer than this client, becomes `internal`. */
  constructor(code: string, detail?: string, retryAfter?: number) {
    const known = Object.hasOwn(ERRORS, code);
    super(known ? detail || code : `${code}: ${detail}`);
    this.code = known ? (code as ErrorCode) : 'internal';
    this.status = ERRORS[this.code];
    this.retryAfter = retryAfter;
  }
}

/** What was given is not what the protocol says. */
export const badRequest = (detail: string) => new PushdError('bad_request', detail);

/** What was found does not prove what was claimed. */
export class Unproven extends Error {
  override name = 'Unproven';
}

/** The text is not content sealed to this key; the sentence says what was wrong. */
export class CannotOpen extends Error {
  override name = 'CannotOpen';
}

/** Nobody answered, or not as a pushd server does, as often as it was tried. */
export class Unreachable extends Error {
  override name = 'Unreachable';
  /** HTTP status of what did answer; undefined if nothing did. */
  readonly status: number | undefined;

  constructor(sentence: string, status?: number) {
    super(sentence);
    this.status = status;
  }
}

/** A hub did not do what was asked; the sentence says why. */
export class GaiaError extends Unreachable {
  override name = 'GaiaError';
}

/** A client without a hub has nowhere to keep what it sends or publishes. */
export class NoBucket extends Error {
  override name = 'NoBucket';

  constructor() {
    super('Without a hub there is no bucket to keep this in; name one.');
  }
}

/** There is no way to the recipient; the sentence says why. */
export class NotReachable extends Error {
  override name = 'NotReachable';
}
