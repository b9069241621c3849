/**
 * The parts a client is made of, each good for one thing, for apps that know keys and
 * servers themselves: a `Sender` delivers payloads to one server, a `Receiver` listens at one
 * server, a `Bucket` keeps files.
 */

export { type Envelope, openSealed, seal } from './client/envelope.ts';
export { Bucket, type BucketOptions } from './client/gaia.ts';
export { type Letter, letterUrl, openLetter, sealLetter } from './client/letter.ts';
export { NotYet } from './client/listeners.ts';
export { type ListenOptions, Receiver, type ReceiverOptions } from './client/receiver.ts';
export { Sender, type SenderOptions, type SendOptions } from './client/sender.ts';
export { type Connection, only, type Open, type Peer, type Way, type Ways } from './client/transports/connection.ts';
export { Choice, waysOf } from './client/transports/ways.ts';
export { websockets } from './client/transports/websocket.ts';
export {
  type Content,
  decrypt,
  decryptSigned,
  encrypt,
  encryptSigned,
  type SignedContent,
} from './identity/ecies.ts';
export { makeToken, type TokenClaims } from './identity/tokens.ts';
export type { Command, Phase, Status } from './protocol/commands.ts';
export { Cursor, MessageId } from './protocol/ids.ts';
export type { Progress } from './protocol/ledger.ts';
export type {
  Accepted,
  ClientFrame,
  Delivery,
  Message,
  ServerFrame,
} from './protocol/messages.ts';
export { ClientSession, type SessionOptions } from './protocol/session.ts';
export { bnsNames } from './resolvers/bns.ts';
export { Directory, type Identity, type Source, type Sources } from './resolvers/directory.ts';
export { Fetcher } from './resolvers/fetcher.ts';
export { webNames } from './resolvers/web.ts';
