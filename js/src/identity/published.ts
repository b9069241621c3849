/**
 * Public keys as apps published them before there were contact documents.
 *
 * Each app had a file and a form of its own. Nobody signed these files, and nobody needs to:
 * a key counts if it hashes to the address of the bucket it lies in.
 */

import { badRequest, Unproven } from '../errors.ts';
import { either, optional, parse, record, text } from '../protocol/shape.ts';
import { concat, unhex } from './bytes.ts';
import { orUnproven } from './documents.ts';
import { BTC_ADDR, PublicKey } from './keys.ts';

/** Files at the root of a bucket, in the order in which to look for them. */
export const KEY_FILES = ['key.json', 'public_key.json', 'public_key.txt', 'pk.txt'] as const;
/** Bytes of the longest file. */
export const MAX_KEY_FILE = 4096;

const keyFile = either(
  text,
  record({ publicKey: optional(text), appPublicKey: optional(text) }),
);

/**
 * Reads a key somebody published in their bucket, or in their profile: bare hexadecimal, or
 * JSON, a string or an object with `publicKey` or `appPublicKey`. The point may be compressed
 * or not, also without its leading 04; 0x and white space around are let be.
 */
export function readPublishedKey(file: string, address: string): PublicKey {
  return orUnproven('published key', () => {
    const digits = textOf(file.trim()).trim().toLowerCase().replace(/^0x/, '');
    const raw = unhex(digits);
    const key = PublicKey.fromPoint(raw.length === 64 ? concat(Uint8Array.of(4), raw) : raw);
    if (key.did !== BTC_ADDR + address) throw new Unproven("It is not that of the bucket.");
    return key;
  });
}

function textOf(file: string): string {
  if (!/^["{]/.test(file)) return file;
  const found = keyFile(parse(file, 'file'), 'file');
  const key = typeof found === 'string' ? found : found.publicKey ?? found.appPublicKey;
  if (!key) throw badRequest('It has no member publicKey or appPublicKey.');
  return key;
}
