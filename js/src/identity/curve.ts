/** secp256k1, the curve of Gaia and of bitcoin: signatures, points and shared secrets. */

import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import * as secp from '@noble/secp256k1';
import { badRequest } from '../errors.ts';

secp.hashes.sha256 = sha256;
secp.hashes.hmacSha256 = (key, message) => hmac(sha256, key, message);

/** Draws a private key. */
export const newSecret = (): Uint8Array => secp.utils.randomSecretKey();
export const isSecret = (secret: Uint8Array): boolean => secp.utils.isValidSecretKey(secret);
/** Returns the public key of a private one, compressed. */
export const publicOf = (secret: Uint8Array): Uint8Array => secp.getPublicKey(secret);

/** Signs SHA-256 of a message: r and s, 64 bytes, deterministic (RFC 6979), with low s. */
export const sign = (message: Uint8Array, secret: Uint8Array): Uint8Array =>
  secp.sign(message, secret);

/** Tells whether a signature of 64 bytes is good; high s and low s both count. */
export const verify = (signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean =>
  signature.length === 64 && secp.verify(signature, message, key, { lowS: false });

/** Returns a point in compressed form; throws `bad_request` where there is none. */
export function compress(point: Uint8Array): Uint8Array {
  try {
    return secp.Point.fromBytes(point).toBytes(true);
  } catch {
    throw badRequest('These are not the bytes of a secp256k1 key.');
  }
}

/** Returns the x coordinate of a point times a private key, 32 bytes. */
export const sharedSecret = (secret: Uint8Array, point: Uint8Array): Uint8Array =>
  secp.getSharedSecret(secret, point).slice(1);
