/** What an app tells a client: who it works for, where, and how. */

import type { Directory, Sources } from '../resolvers/directory.ts';
import type { Fetcher } from '../resolvers/fetcher.ts';
import type { Accept } from './inbox.ts';
import type { ListenOptions } from './receiver.ts';
import type { Way } from './transports/connection.ts';
import type { WebSocketClass } from './transports/websocket.ts';

export interface ClientOptions extends ListenOptions {
  /** Web origin of the app, in which names have their meaning. */
  app: string;
  /** Name the identity claims. */
  name?: string | undefined;
  /** URL of the Gaia hub that takes the identity's files; without one it can only listen. */
  hub?: string | undefined;
  /** The identity's message servers in order of preference. */
  servers?: string[] | undefined;
  /** URL of the API that knows Blockstack names. */
  namesApi?: string | undefined;
  /** Development hosts as `host:port`, where http is allowed. */
  devHosts?: string[] | undefined;
  /** `auto` acks a message once its listeners returned; `manual` leaves that to `ack()`. */
  ack?: 'auto' | 'manual' | undefined;
  /**
   * Asked for each sender, by DID, before anything of theirs is fetched: a stranger's bucket
   * learns when and from where it is read. What is declined stays unread.
   */
  accept?: Accept | undefined;
  /** Seconds a recipient's server that is away or busy is tried, before the message waits. */
  giveUpAfter?: number | undefined;
  /** `auto` goes on to events, then to polling, where a websocket cannot be had. */
  way?: 'auto' | Way['name'] | undefined;
  /** The class of websockets, where the system has none of its own (Node 20). */
  webSocket?: WebSocketClass | undefined;
  /** Knows names of other forms; see `webNames` and `bnsNames` in the parts. */
  sources?: ((fetcher: Fetcher) => Sources) | undefined;
  /** Finds and proves names; made of the settings above if left out. */
  directory?: Directory | undefined;
}

/** How a message is sent. */
export interface SendHow {
  /** Media type of the content; plain text if left out. */
  contentType?: string | undefined;
  /** The message's ID, which no other message has; random if left out. */
  id?: string | undefined;
  /** Seconds until its delivery expires; left out: the server's maximum. */
  ttl?: number | undefined;
}
