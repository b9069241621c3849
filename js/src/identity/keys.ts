/**
 * Keys, and the DIDs that name them: who somebody is.
 *
 * A key is named by its Gaia bucket address, `did:btc-addr:1...`; it can be named by itself,
 * too, `did:key:z...`. This client knows secp256k1 alone, the one kind that can be encrypted
 * to; see `docs/decisions/0023-one-curve-in-the-browser.md`.
 */

import { ripemd160 } from '@noble/hashes/legacy.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { badRequest } from '../errors.ts';
import { readBitcoin } from './addresses.ts';
import { BASE58, decode, encode, encodeCheck } from './base58.ts';
import { concat, hex, unhex } from './bytes.ts';
import * as curve from './curve.ts';

export const BTC_ADDR = 'did:btc-addr:';
const KEY = 'did:key:z'; // z says that base58btc follows (multibase)
const MULTICODEC = /* @__PURE__ */ Uint8Array.of(0xe7, 0x01);

/** A key others can be recognized by. */
export class PublicKey {
  /** A compressed point, 33 bytes. */
  readonly raw: Uint8Array;
  /** The same in hexadecimal. */
  readonly hex: string;
  /** The DID this key goes by. */
  readonly did: string;

  constructor(raw: Uint8Array) {
    if (raw.length !== 33) throw badRequest('A public key has 33 bytes.');
    this.raw = curve.compress(raw);
    this.hex = hex(raw);
    this.did = BTC_ADDR + address(raw);
  }

  /** Reads a compressed key in hexadecimal. */
  static fromHex(text: string): PublicKey {
    return new PublicKey(unhex(text));
  }

  /** Reads a key whose point may be uncompressed, 65 bytes. */
  static fromPoint(raw: Uint8Array): PublicKey {
    return new PublicKey(curve.compress(raw));
  }

  /** Reads the key a `did:key` holds; a did:btc-addr holds only the hash of one. */
  static fromDid(did: string): PublicKey {
    const bytes =
      did.startsWith(KEY) && did.length <= 80 ? decode(did.slice(KEY.length), BASE58) : undefined;
    if (!bytes || bytes[0] !== MULTICODEC[0] || bytes[1] !== MULTICODEC[1]) {
      throw badRequest('This is not the did:key of a secp256k1 key.');
    }
    return new PublicKey(bytes.slice(2));
  }

  /** The key itself as a DID. */
  get didKey(): string {
    return KEY + encode(concat(MULTICODEC, this.raw), BASE58);
  }

  /** Tells whether this key signed `message`; low and high s both count. */
  verify(signature: Uint8Array, message: Uint8Array): boolean {
    return curve.verify(signature, message, this.raw);
  }

  /** Tells whether a DID is one of the two of this key. */
  isNamed(did: string): boolean {
    return did === this.did || did === this.didKey;
  }
}

/** A key to speak with. Its bytes show in no log. */
export class PrivateKey {
  /** The key others recognize it by. */
  readonly public: PublicKey;
  readonly #raw: Uint8Array;

  constructor(raw: Uint8Array) {
    if (!curve.isSecret(raw)) throw badRequest('These are not the bytes of a private key.');
    this.#raw = raw.slice();
    this.public = new PublicKey(curve.publicOf(raw));
  }

  /** Makes a new key. */
  static generate(): PrivateKey {
    return new PrivateKey(curve.newSecret());
  }

  /**
   * Reads a private key of 64 hexadecimal digits. The `01` that Blockstack puts behind some
   * ("the public key is compressed") may follow.
   */
  static fromHex(text: string): PrivateKey {
    const digits = text.trim().replace(/^(.{64})01$/, '$1');
    return new PrivateKey(unhex(digits, 'A private key is 64 hexadecimal digits.'));
  }

  /** Writes the key as 64 hexadecimal digits, for a place only its owner can read. */
  toHex(): string {
    return hex(this.#raw);
  }

  /** The DID this key goes by. */
  get did(): string {
    return this.public.did;
  }

  /** Returns the signature of a message: r and s, 64 bytes. */
  sign(message: Uint8Array): Uint8Array {
    return curve.sign(message, this.#raw);
  }

  /** Returns what this key shares with another: the x coordinate of their product. */
  share(other: PublicKey): Uint8Array {
    return curve.sharedSecret(this.#raw, other.raw);
  }
}

/** Returns the bucket address of a public key, from its bytes as given. */
export const address = (publicKey: Uint8Array): string =>
  encodeCheck(concat(Uint8Array.of(0), hash160(publicKey)));

/** Returns RIPEMD-160 of SHA-256, the 20 bytes behind an address. */
export const hash160 = (bytes: Uint8Array): Uint8Array => ripemd160(sha256(bytes));

/** Returns the bucket address of an identity; empty for one that cannot have any. */
export function addressOf(did: string): string {
  if (did.startsWith(BTC_ADDR)) return did.slice(BTC_ADDR.length);
  try {
    return address(PublicKey.fromDid(did).raw);
  } catch {
    return '';
  }
}

/** Returns `text` if it is a bitcoin address, as names a bucket. */
export function validateAddress(text: string): string {
  if (text.length > 35 || !readBitcoin(text)) {
    throw badRequest('The address of a bucket is a bitcoin address, 1...');
  }
  return text;
}
