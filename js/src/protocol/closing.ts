/**
 * Close codes of the stream, and what a client does about each.
 *
 * Codes of RFC 6455 keep their meaning. Those from 4400 echo the HTTP status that says the
 * same thing.
 */

export const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  /** RFC 6455 section 7.4.1: there was no close frame. */
  ABNORMAL: 1006,
  RESTARTING: 1012,
  OVERLOADED: 1013,
  PROTOCOL_ERROR: 4400,
  UNAUTHORIZED: 4401,
  FORBIDDEN: 4403,
  TIMEOUT: 4408,
  DISPLACED: 4409,
  TOO_MANY_SESSIONS: 4429,
} as const;

/** What a client does after a close. */
export interface Advice {
  /** Whether it connects again by itself, with full-jitter backoff. */
  reconnect: boolean;
  /** Whether only a newly made token may be tried, once. */
  newToken: boolean;
  /** One sentence for people. */
  meaning: string;
}

const MEANINGS: Record<number, string> = {
  1000: 'The conversation ended.',
  1001: 'The peer went away.',
  1012: 'The server restarts; come back later.',
  1013: 'The server has too much to do.',
  4400: 'A frame broke the protocol.',
  4401: 'The token is not, or no longer, valid.',
  4403: 'This identity may not listen here.',
  4408: 'Nothing was heard, or written, for too long.',
  4409: 'Another session of this device took over.',
  4429: 'The mailbox has its sessions.',
};

/** Returns what to do after a close with `code`; reconnect if the code is unknown. */
export const advice = (code: number): Advice => ({
  reconnect: code !== CloseCode.FORBIDDEN && code !== CloseCode.DISPLACED,
  newToken: code === CloseCode.UNAUTHORIZED,
  meaning: MEANINGS[code] ?? 'The connection was lost.',
});
