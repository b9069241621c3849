/** All ways to a server, for whoever wants to get there whatever stands between. */

import type { Way } from './connection.ts';
import { events } from './events.ts';
import { polling } from './polling.ts';
import { type WebSocketClass, websockets } from './websocket.ts';

/**
 * Returns the ways to a server, the best one first.
 *
 * @param told One way alone, or `auto` for all; the class of websockets where the system has
 *   none of its own.
 */
export function waysOf(told: {
  way?: 'auto' | Way['name'] | undefined;
  webSocket?: WebSocketClass | undefined;
}): Way[] {
  const { way = 'auto', webSocket = globalThis.WebSocket } = told;
  const ways: Way[] = [
    { name: 'events', open: events },
    { name: 'polling', open: polling },
  ];
  if (webSocket) ways.unshift({ name: 'websocket', open: websockets(webSocket) });
  return way === 'auto' ? ways : ways.filter(({ name }) => name === way);
}
