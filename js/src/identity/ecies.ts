/**
 * Sealing content to a key, in exactly the form of blockstack.js.
 *
 * What `encrypt` makes, `decryptContent` of blockstack.js and @stacks/encryption reads, and
 * the reverse. The form is one ephemeral key E for each text (ECIES):
 *
 *     S   = x coordinate of e * recipient, 32 bytes        the shared secret
 *     H   = SHA-512(S)                                     encryption key, then MAC key
 *     C   = AES-256-CBC(H[:32], iv, content in PKCS#7)
 *     mac = HMAC-SHA-256(H[32:], iv, E compressed, C)
 *
 * It tells nothing of the sender, which the signed form adds, has no forward secrecy and
 * does not hide the length; and `wasString` is outside the MAC, so nothing may depend on it.
 */

import { cbc } from '@noble/ciphers/aes.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { CannotOpen } from '../errors.ts';
import { flag, oneOf, optional, read, record, type Shape, text } from '../protocol/shape.ts';
import { base64, concat, fromBase64, fromUtf8, hex, randomBytes, unhex, utf8 } from './bytes.ts';
import { readDer, writeDer } from './der.ts';
import { PrivateKey, PublicKey } from './keys.ts';

/** Text, or bytes; opening gives back the same. */
export type Content = string | Uint8Array;

/** How to seal; what is left out is drawn, or as blockstack.js does it. */
export interface Sealing {
  /** Write the ciphertext in base64: shorter, but blockstack.js before 21 cannot read it. */
  base64?: boolean;
  /** A key for this one use. */
  ephemeral?: PrivateKey;
  /** 16 bytes for this one use. */
  iv?: Uint8Array;
}

/** Content, and the key that signed for it. */
export interface SignedContent {
  content: Content;
  signer: PublicKey;
}

const sealed = record({
  iv: text,
  ephemeralPK: text,
  cipherText: text,
  mac: text,
  wasString: optional(flag),
  cipherTextEncoding: optional(oneOf('hex', 'base64')),
});
const signed = record({ signature: text, publicKey: text, cipherText: text });

/** Seals content so that only `recipient` can open it. */
export function encrypt(content: Content, recipient: PublicKey, how: Sealing = {}): string {
  const { ephemeral = PrivateKey.generate(), iv = randomBytes(16) } = how;
  const keys = derive(ephemeral.share(recipient));
  const plain = typeof content === 'string' ? utf8(content) : content;
  const ciphertext = cbc(keys.encryption, iv).encrypt(plain);
  return JSON.stringify({
    iv: hex(iv),
    ephemeralPK: ephemeral.public.hex,
    cipherText: how.base64 ? base64(ciphertext) : hex(ciphertext),
    mac: hex(macOf(keys.mac, iv, ephemeral.public.raw, ciphertext)),
    wasString: typeof content === 'string',
    cipherTextEncoding: how.base64 ? 'base64' : undefined,
  });
}

/** Opens content that was sealed to `key`; throws `CannotOpen` where it was not. */
export function decrypt(json: string, key: PrivateKey): Content {
  const given = orRefuse('This is not the JSON of sealed content.', () =>
    read(json, sealed, 'sealed content'),
  );
  const [iv, mac, ciphertext, point] = orRefuse('The sealed content is malformed.', () => [
    unhex(given.iv),
    unhex(given.mac),
    given.cipherTextEncoding === 'base64' ? readBase64(given.cipherText) : unhex(given.cipherText),
    // The sender may have written the point in another form; the MAC is over this one.
    PublicKey.fromPoint(unhex(given.ephemeralPK)),
  ]);
  const keys = derive(key.share(point));
  if (!equal(mac, macOf(keys.mac, iv, point.raw, ciphertext))) {
    throw new CannotOpen('The MAC differs: sealed to another key, or changed on the way.');
  }
  // A sender who knows the key can still send nonsense.
  return orRefuse('The content is not what the form says it is.', () => {
    const plain = cbc(keys.encryption, iv).decrypt(ciphertext);
    return given.wasString ? fromUtf8(plain) : plain;
  });
}

/** Seals content and signs for the sealed text. */
export function encryptSigned(
  content: Content,
  recipient: PublicKey,
  signer: PrivateKey,
  how: Sealing = {},
): string {
  const cipherText = encrypt(content, recipient, how);
  const signature = hex(writeDer(signer.sign(utf8(cipherText))));
  return JSON.stringify({ signature, publicKey: signer.public.hex, cipherText });
}

/**
 * Opens content that was sealed to `key` and signed.
 *
 * Whose key the signer's is, the caller has to find out: anybody can sign with their own.
 */
export function decryptSigned(json: string, key: PrivateKey): SignedContent {
  const given = orRefuse('This is not the JSON of signed content.', () =>
    read(json, signed, 'signed content'),
  );
  const [signer, signature] = orRefuse('The signature or its key is malformed.', () => [
    PublicKey.fromHex(given.publicKey),
    readDer(unhex(given.signature)),
  ]);
  if (!signer.verify(signature, utf8(given.cipherText))) {
    throw new CannotOpen('The signature does not verify.');
  }
  return { content: decrypt(given.cipherText, key), signer };
}

/** Reads what was sealed as JSON of a shape, or throws `CannotOpen` with this sentence. */
export const readContent = <T>(content: Content, shape: Shape<T>, sentence: string): T =>
  orRefuse(sentence, () =>
    read(typeof content === 'string' ? content : fromUtf8(content), shape, 'content'),
  );

// --- the parts -------------------------------------------------------------------------

/** Does something, or says what was wrong, and nothing of the text or of a key. */
function orRefuse<T>(sentence: string, work: () => T): T {
  try {
    return work();
  } catch {
    throw new CannotOpen(sentence);
  }
}

function derive(shared: Uint8Array): { encryption: Uint8Array; mac: Uint8Array } {
  const digest = sha512(shared);
  return { encryption: digest.slice(0, 32), mac: digest.slice(32) };
}

const macOf = (key: Uint8Array, iv: Uint8Array, point: Uint8Array, ciphertext: Uint8Array) =>
  hmac(sha256, key, concat(iv, point, ciphertext));

/** Compares in a time that does not tell where they differ. */
function equal(one: Uint8Array, other: Uint8Array): boolean {
  let difference = one.length ^ other.length;
  for (let place = 0; place < one.length; place++) {
    difference |= (one[place] ?? 0) ^ (other[place] ?? 0);
  }
  return difference === 0;
}

function readBase64(text: string): Uint8Array {
  const bytes = fromBase64(text);
  if (!bytes) throw new CannotOpen('The cipherText is not in base64.');
  return bytes;
}
