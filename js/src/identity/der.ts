/** Signatures as certificates write them (DER, X.690): a sequence of two integers. */

import { badRequest } from '../errors.ts';
import { concat } from './bytes.ts';

const SEQUENCE = 0x30;
const INTEGER = 0x02;

/** Writes r and s, 64 bytes, in DER. */
export function writeDer(signature: Uint8Array): Uint8Array {
  const numbers = concat(integer(signature.slice(0, 32)), integer(signature.slice(32)));
  return concat(Uint8Array.of(SEQUENCE, numbers.length), numbers);
}

/** Reads r and s as 64 bytes; throws `bad_request` where it is not their DER. */
export function readDer(der: Uint8Array): Uint8Array {
  const signature = new Uint8Array(64);
  const r = der[3] ?? 0;
  const s = der[5 + r] ?? 0;
  signature.set(der.slice(4, 4 + r).slice(-32), 32 - Math.min(r, 32));
  signature.set(der.slice(6 + r, 6 + r + s).slice(-32), 64 - Math.min(s, 32));
  // One text for one signature: what is not as it would be written is refused.
  if (`${writeDer(signature)}` !== `${der}`) throw badRequest('This is no signature in DER.');
  return signature;
}

function integer(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < 31 && bytes[start] === 0) start++;
  const digits = bytes.slice(start);
  // The first bit is the sign.
  const sign = (digits[0] ?? 0) & 0x80 ? [0] : [];
  return Uint8Array.of(INTEGER, digits.length + sign.length, ...sign, ...digits);
}
