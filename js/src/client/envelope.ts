/**
 * The envelope: what a payload says once its recipient has opened it.
 *
 * It names a message and the bucket it lies in, and travels encrypted to the recipient's
 * key: the server never learns either. Anybody can encrypt to a key, so an envelope proves
 * nothing by itself; `openSealed` compares it with whom the server verified as the sender.
 */

import { badRequest, CannotOpen } from '../errors.ts';
import { decrypt, encrypt, readContent } from '../identity/ecies.ts';
import { addressOf, type PrivateKey, type PublicKey } from '../identity/keys.ts';
import { bucketAddress } from '../identity/names.ts';
import { integer, type Of, optional, record, type Shape, text } from '../protocol/shape.ts';

const VERSION = 1;

/** The version of a form; another one than this is not known here. */
export const version: Shape<number> = (value, member) => {
  if (integer(value, member) !== VERSION) throw badRequest('This version is not known here.');
  return VERSION;
};

const members = {
  /** The message's ID, random, at least 128 bits. */
  id: text,
  /** The sender's DID. */
  from: text,
  /** The recipient's DID. */
  to: text,
  /** Read URL of the sender's bucket; its last segment is the sender's address. */
  bucket: text,
  /** Of the message in the bucket, where that is not `messages/<id>`. */
  path: optional(text),
  /** Web origin of the app both use. */
  app: optional(text),
  /** The sender's name there, as the sender claims. */
  name: optional(text),
};
const envelope = record(members);
const versioned = record({ v: version, ...members });
/** Which message, from whom, to whom, and where it is. */
export type Envelope = Of<typeof envelope>;

/** Makes the payload that only `recipient` can open; it has to be the key of `envelope.to`. */
export function seal(envelope: Envelope, recipient: PublicKey): string {
  if (!recipient.isNamed(envelope.to)) {
    throw badRequest("The key is not that of the envelope's recipient.");
  }
  return encrypt(JSON.stringify({ v: VERSION, ...envelope }), recipient);
}

/**
 * Opens the payload of a message, and checks it against who sent it.
 *
 * @param from The sender's DID, and the app, as the server verified them.
 */
export function openSealed(
  payload: string,
  key: PrivateKey,
  from: { sender: string; app?: string | undefined },
): Envelope {
  const content = decrypt(payload, key);
  const { v, ...envelope } = readContent(content, versioned, 'What was sealed is no envelope.');
  if (envelope.from !== from.sender) {
    throw new CannotOpen('The envelope names another sender than the server verified.');
  }
  if (!key.public.isNamed(envelope.to)) {
    throw new CannotOpen('The envelope is meant for another recipient.');
  }
  if (ownerOf(envelope.bucket) !== addressOf(from.sender)) {
    throw new CannotOpen("The bucket is not the sender's.");
  }
  if (from.app !== undefined && envelope.app !== undefined && envelope.app !== from.app) {
    throw new CannotOpen('The envelope names another app than the server verified.');
  }
  return envelope;
}

function ownerOf(bucket: string): string {
  try {
    return bucketAddress(bucket);
  } catch {
    throw new CannotOpen('The envelope names no bucket.');
  }
}
