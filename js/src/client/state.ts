/** How a connection stands, in the few words an app shows to people. */

import type { Phase, Status } from '../protocol/commands.ts';

export interface State {
  /** `offline` comes back by itself, `closed` does not. */
  is: 'connecting' | 'catching up' | 'live' | 'offline' | 'closed';
  /** Messages the mailbox held when this history began, for a progress bar. */
  unread: number;
  /** Messages that came since. */
  received: number;
  /** Seconds until the next attempt, if it is offline. */
  retryIn?: number;
  /** The close code, if it is offline or closed. */
  code?: number;
  /** Why, a sentence for people. */
  reason: string;
  /** Whether the connection is this page's, rather than another tab's. */
  leader: boolean;
  /** The way to the server: `websocket`, `events` or `polling`. */
  way: string;
}

const WORDS: Record<Phase, State['is']> = {
  connecting: 'connecting',
  opening: 'connecting',
  'catching up': 'catching up',
  live: 'live',
  closing: 'offline',
  waiting: 'offline',
  stopped: 'closed',
};

/** Returns the state of a leader whose session stands so. */
export function stateOf({ phase, ...status }: Status, way: string): State {
  return { is: WORDS[phase], ...status, leader: true, way };
}
