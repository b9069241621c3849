/**
 * The TypeScript client of pushd: send to a name, listen as yourself.
 *
 *     import { Client, PrivateKey } from '@pushd/client';
 *
 * What it is made of is in `parts.ts`, for apps that know keys and servers themselves.
 */

export { Client } from './client/client.ts';
export { type Accept, NotShown, type Opened } from './client/inbox.ts';
export type { Incoming } from './client/incoming.ts';
export { type Listener, NotHandled, type Received } from './client/listeners.ts';
export type { ClientOptions, SendHow } from './client/options.ts';
export type { Draft, Sent } from './client/outbox.ts';
export type { State } from './client/state.ts';
export {
  IndexedDbStore,
  LocalStorageStore,
  MemoryStore,
  openStore,
  type Store,
} from './client/store.ts';
export {
  CannotOpen,
  ERRORS,
  type ErrorCode,
  GaiaError,
  NoBucket,
  NotReachable,
  PushdError,
  Unproven,
  Unreachable,
} from './errors.ts';
export { PrivateKey, PublicKey } from './identity/keys.ts';
export { StreamClosed } from './protocol/commands.ts';
export type { Overflow, Read } from './protocol/messages.ts';
