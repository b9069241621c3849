/**
 * The letter: a message as it lies, sealed and signed, in its sender's bucket.
 *
 * An envelope (`envelope.ts`) travels to the recipient and says where its letter is; the
 * letter holds the content. Whoever keeps the bucket can put any file there, so a letter
 * counts only if the sender's key signed it and it agrees with its envelope.
 */

import { badRequest, CannotOpen } from '../errors.ts';
import { decryptSigned, encryptSigned, readContent } from '../identity/ecies.ts';
import { addressOf, type PrivateKey, type PublicKey } from '../identity/keys.ts';
import { number, type Of, optional, record, text } from '../protocol/shape.ts';
import { type Envelope, version } from './envelope.ts';
import { quotePath } from './paths.ts';

/** Bytes of the longest letter, as sealed; about 500 KB of content. */
export const MAX_LETTER = 1024 * 1024;
/** Characters of the longest path an envelope may name. */
const MAX_LETTER_PATH = 256;

const members = {
  /** The message's ID, that of its envelope. */
  id: text,
  /** The sender's DID. */
  from: text,
  /** The recipient's DID. */
  to: text,
  /** Unix seconds when it was written, as the sender says. */
  at: number,
  /** Text; an app with bytes to send writes them as text, and says so in the type. */
  content: text,
  /** Media type of the content; left out means plain text. */
  contentType: optional(text),
  /** Web origin of the app both use. */
  app: optional(text),
};
const letter = record(members);
const versioned = record({ v: version, ...members });
/** What somebody wrote, and to whom. */
export type Letter = Of<typeof letter>;

/** Returns where the letter of this ID lies in its sender's bucket. */
export const letterPath = (id: string): string => `messages/${id}`;

/** Returns where the letter of an envelope, opened before, is to be read. */
export function letterUrl(envelope: Envelope): string {
  const path = envelope.path ?? letterPath(envelope.id);
  try {
    if (path.length > MAX_LETTER_PATH) throw badRequest('The path is too long.');
    return `${envelope.bucket.replace(/\/+$/, '')}/${quotePath(path)}`;
  } catch {
    throw new CannotOpen('The envelope names no path of a file in a bucket.');
  }
}

/** Makes the file that only `recipient` can open, signed by the sender. */
export function sealLetter(letter: Letter, recipient: PublicKey, sender: PrivateKey): string {
  if (!recipient.isNamed(letter.to) || !sender.public.isNamed(letter.from)) {
    throw badRequest("A key is not that of the letter's sender, or recipient.");
  }
  const file = encryptSigned(JSON.stringify({ v: 1, ...letter }), recipient, sender);
  if (file.length > MAX_LETTER) {
    throw badRequest(`A letter has at most ${MAX_LETTER} bytes once it is sealed.`);
  }
  return file;
}

/** Opens a letter, and checks it against the envelope that led to it. */
export function openLetter(file: string, key: PrivateKey, envelope: Envelope): Letter {
  const { content, signer } = decryptSigned(file, key);
  if (signer.did !== `did:btc-addr:${addressOf(envelope.from)}`) {
    throw new CannotOpen("The letter is signed by another key than the sender's.");
  }
  const { v, ...letter } = readContent(content, versioned, 'What was sealed is no letter.');
  for (const member of ['id', 'from', 'to', 'app'] as const) {
    if (letter[member] !== envelope[member]) {
      throw new CannotOpen(`The letter and its envelope differ in ${member}.`);
    }
  }
  return letter;
}
