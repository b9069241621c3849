/**
 * Addresses of keys, as chains write them: two texts around the same 20 bytes.
 *
 *     1NFkgskrapaaAHsLztEW4Sv3Ds5r7cWAAK           Bitcoin: base58check, version 0
 *     SP3MJ9VQM7S6BC2EBSJD0MATNM2C61Y1B7VGEWV08    Stacks: c32check (SIP-005)
 *
 * A name's owner may be written either way, so owners are compared by the hash inside.
 */

import { badRequest } from '../errors.ts';
import { C32, checksum, decode, decodeCheck } from './base58.ts';
import { concat, hex } from './bytes.ts';

/** Of the main network SP and SM, of test networks ST and SN. */
const STACKS_VERSIONS = [22, 20, 26, 21];

/** Returns the 20 bytes an address stands for, the hash of a key or of a script. */
export function hash160Of(address: string): Uint8Array {
  const hash = address.length <= 48 ? readBitcoin(address) ?? readStacks(address) : undefined;
  if (!hash) throw badRequest('This is no address, 1... or S...');
  return hash;
}

/** Reads a Bitcoin address of version 0, which is one of a key. */
export function readBitcoin(address: string): Uint8Array | undefined {
  const bytes = decodeCheck(address);
  return bytes?.length === 21 && bytes[0] === 0 ? bytes.slice(1) : undefined;
}

function readStacks(address: string): Uint8Array | undefined {
  // As people misread the letters.
  const text = address.toUpperCase().replace(/O/g, '0').replace(/[IL]/g, '1');
  const version = C32.indexOf(text[1] ?? '');
  const bytes = decode(text.slice(2), C32);
  if (text[0] !== 'S' || bytes?.length !== 24 || !STACKS_VERSIONS.includes(version)) {
    return undefined;
  }
  const hash = bytes.slice(0, 20);
  const expected = checksum(concat(Uint8Array.of(version), hash));
  return hex(expected) === hex(bytes.slice(20)) ? hash : undefined;
}
