/** What a client does about each close code of the stream. */

import * as CloseCode from './codes.ts';

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
  4408: 'The client fell silent, or too far behind.',
  4409: 'Another session of this device took over.',
  4429: 'The mailbox has its sessions.',
};

/** Returns what to do after a close with `code`; reconnect if the code is unknown. */
export const advice = (code: number): Advice => ({
  reconnect: code !== CloseCode.FORBIDDEN && code !== CloseCode.DISPLACED,
  newToken: code === CloseCode.UNAUTHORIZED,
  meaning: MEANINGS[code] ?? 'The connection was lost.',
});
