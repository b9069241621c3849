/** Bytes as texts: UTF-8, hexadecimal, base64 and base64url, each strict about its form. */

// @noble/hashes has the same three; these come with the curve anyway, and are a third as long.
import { etc } from '@noble/secp256k1';
import { badRequest } from '../errors.ts';

export const { bytesToHex: hex, concatBytes: concat } = etc;

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Reads UTF-8; throws a `TypeError` where it is not. */
export const fromUtf8 = (bytes: Uint8Array): string =>
  new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);

/** Reads hexadecimal; throws `bad_request` with this sentence where it is not. */
export function unhex(text: string, sentence = 'A public key is written in hexadecimal.') {
  try {
    return etc.hexToBytes(text);
  } catch {
    throw badRequest(sentence);
  }
}

/** Writes base64, with padding. */
export function base64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** Reads base64 as it is written here and no other way; undefined where it is not. */
export function fromBase64(text: string): Uint8Array | undefined {
  try {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    return base64(bytes) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/** Writes base64url, without padding. */
export const base64url = (bytes: Uint8Array): string =>
  base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');

/** Reads base64url, without padding; undefined where it is not. */
export function fromBase64url(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return undefined;
  const padded = text + '='.repeat(-text.length & 3);
  return fromBase64(padded.replaceAll('-', '+').replaceAll('_', '/'));
}

/** Returns 128 random bits, in letters that suit a URL. */
export const randomText = (): string => base64url(randomBytes(16));

/** Draws bytes; the one place of all randomness that has to be good. */
export const randomBytes = (length: number): Uint8Array =>
  crypto.getRandomValues(new Uint8Array(length));
