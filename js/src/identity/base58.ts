/** Numbers as letters: base58, base58check and c32, in which chains write addresses. */

import { sha256 } from '@noble/hashes/sha2.js';
import { concat } from './bytes.ts';

export const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
export const C32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** Writes bytes as a number in an alphabet; each leading zero byte is a leading zero. */
export function encode(bytes: Uint8Array, alphabet: string): string {
  let text = '';
  let number = 0n;
  for (const byte of bytes) number = (number << 8n) | BigInt(byte);
  const base = BigInt(alphabet.length);
  for (; number; number /= base) text = alphabet[Number(number % base)] + text;
  for (const byte of bytes) {
    if (byte) break;
    text = alphabet[0] + text;
  }
  return text;
}

/** Reads what `encode` writes; undefined where it is no such text. Callers bound it first. */
export function decode(text: string, alphabet: string): Uint8Array | undefined {
  let number = 0n;
  for (const letter of text) {
    const digit = alphabet.indexOf(letter);
    if (digit < 0) return undefined;
    number = number * BigInt(alphabet.length) + BigInt(digit);
  }
  const bytes: number[] = [];
  for (; number; number >>= 8n) bytes.unshift(Number(number & 255n));
  for (const letter of text) {
    if (letter !== alphabet[0]) break;
    bytes.unshift(0);
  }
  return Uint8Array.from(bytes);
}

/** The first 4 bytes of the double SHA-256. */
export const checksum = (bytes: Uint8Array): Uint8Array => sha256(sha256(bytes)).slice(0, 4);

/** Writes base58check. */
export const encodeCheck = (bytes: Uint8Array): string =>
  encode(concat(bytes, checksum(bytes)), BASE58);

/** Reads base58check; undefined where it is not, or the checksum differs. */
export function decodeCheck(text: string): Uint8Array | undefined {
  const bytes = decode(text, BASE58)?.slice(0, -4);
  return bytes && encodeCheck(bytes) === text ? bytes : undefined;
}
