/**
 * Connections: three ways to speak frames with a server, all seen alike by the stream.
 *
 * A websocket carries them as they are. Where a proxy lets none through, server-sent events
 * bring them and HTTP takes the acks back; where it holds those back too, frames are made of
 * what `GET /v1/messages` answers. The session never learns which it was.
 */

import type { ClientFrame, ServerFrame } from '../../protocol/messages.ts';

/** Who a connection works for. */
export interface Peer {
  /** Takes a frame of the server, as JSON. */
  frame(json: string): void;
  /** Takes note of a sign of life. */
  heard(): void;
  /**
   * Takes note of the end, once.
   *
   * @param code The close code; 1006 if there was none.
   * @param retryAfter Seconds the server asked to wait.
   */
  closed(code: number, reason: string, retryAfter?: number): void;
}

/** One connection, from its first hello to its end. */
export interface Connection {
  /** Sends a frame; the first is the hello. */
  send(frame: ClientFrame): void;
  /** Ends it; `closed` follows. */
  close(code: number, reason: string): void;
}

/** Opens a connection to a server; `opened` is called when it can take the hello. */
export type Open = (server: string, peer: Peer, opened: () => void) => Connection;

/** A way to connect. */
export interface Way {
  name: 'websocket' | 'events' | 'polling';
  open: Open;
}

/** Which way to take: what a stream asks before each connection. */
export interface Ways {
  /** The way to take now. */
  readonly way: Way;
  /** Learns that a connection made this way brought its first frame. */
  spoke(way: Way): void;
  /** Learns that a connection to a server, made this way, is over, with this close code. */
  over(server: string, way: Way, code: number): void;
  /** Tells whether it is time to try a better way; asked about once a second. */
  isTime(): boolean;
}

/** Returns the one way there is. */
export const only = (way: Way): Ways => ({ way, spoke() {}, over() {}, isTime: () => false });

/** Writes a frame of a server that a connection says in its stead. */
export const say = (peer: Peer, frame: ServerFrame): void => peer.frame(JSON.stringify(frame));
