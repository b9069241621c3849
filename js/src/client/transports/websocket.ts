/** A websocket: carries the frames as they are. */

import * as CloseCode from '../../protocol/codes.ts';
import { SUBPROTOCOL } from '../../protocol/messages.ts';
import type { Open } from './connection.ts';

/** Seconds the opening may take, and the other side to answer a close. */
const PATIENCE = 10;

/** The part of a browser's `WebSocket` that is needed; a package's may do as well. */
export type WebSocketClass = new (url: string, protocol: string) => WebSocket;

/** Opens websockets of a class. */
export const websockets =
  (Class: WebSocketClass): Open =>
  (server, peer, opened) => {
    const socket = new Class(`${server.replace('http', 'ws')}/v1/stream`, SUBPROTOCOL);
    let over = false;
    const end = (code: number, reason: string) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      peer.closed(code, reason);
    };
    const giveUp = () => {
      end(CloseCode.ABNORMAL, 'The server does not answer.');
      socket.close();
    };
    let timer = setTimeout(giveUp, PATIENCE * 1000);
    socket.onopen = () => {
      clearTimeout(timer);
      if (!over) opened();
    };
    socket.onmessage = event => {
      if (!over) peer.frame(String(event.data));
    };
    socket.onclose = event => end(event.code || CloseCode.ABNORMAL, event.reason);
    // A close should follow, but not every implementation says so of one that never opened.
    socket.onerror = () => end(CloseCode.ABNORMAL, '');
    return {
      send(frame) {
        if (socket.readyState === 1) socket.send(JSON.stringify(frame));
      },
      close(code, reason) {
        clearTimeout(timer);
        // One that is silent will not answer that either.
        if (code === CloseCode.TIMEOUT) end(code, reason);
        else timer = setTimeout(() => end(code, reason), PATIENCE * 1000);
        try {
          socket.close(code, reason);
        } catch {
          socket.close(); // browsers keep codes below 3000 to themselves
        }
      },
    };
  };
