/** The small curve package does as the audited one, with keys and messages of all kinds. */

import { secp256k1 } from '@noble/curves/secp256k1.js';
import { describe, expect, test } from 'vitest';
import * as curve from '../src/identity/curve.ts';
import { readDer, writeDer } from '../src/identity/der.ts';
import { hex } from './vectors/files.ts';

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const bytesOf = (number: bigint) =>
  Uint8Array.from(Buffer.from(number.toString(16).padStart(64, '0'), 'hex'));
const SECRETS = [
  ...[1n, 2n, ORDER - 1n, ORDER / 2n].map(bytesOf),
  ...Array.from({ length: 20 }, () => curve.newSecret()),
];

describe.each(SECRETS.map(secret => [hex(secret).slice(0, 8), secret] as const))(
  'the key %s...',
  (_, secret) => {
    const message = crypto.getRandomValues(new Uint8Array(secret[31]!));
    const key = curve.publicOf(secret);

    test('has the same public key, and shares the same', () => {
      const other = secp256k1.getPublicKey(SECRETS.at(-1)!);
      expect(key).toEqual(secp256k1.getPublicKey(secret));
      expect(curve.sharedSecret(secret, other)).toEqual(
        secp256k1.getSharedSecret(secret, other).slice(1),
      );
      expect(curve.compress(secp256k1.getPublicKey(secret, false))).toEqual(key);
    });

    test('signs the same, and both forms of s verify', () => {
      const signature = curve.sign(message, secret);
      expect(signature).toEqual(secp256k1.sign(message, secret));
      const s = ORDER - BigInt(`0x${hex(signature.slice(32))}`);
      const high = Uint8Array.of(...signature.slice(0, 32), ...bytesOf(s));
      expect(curve.verify(signature, message, key)).toBe(true);
      expect(curve.verify(high, message, key)).toBe(true);
      expect(curve.verify(signature, Uint8Array.of(...message, 0), key)).toBe(false);
    });

    test('has its signatures written in the same DER', () => {
      const signature = curve.sign(message, secret);
      const der = secp256k1.Signature.fromBytes(signature).toBytes('der');
      expect(writeDer(signature)).toEqual(der);
      expect(readDer(der)).toEqual(signature);
    });
  },
);

test.each([
  [0n, 1n],
  [1n, ORDER],
  [ORDER, 1n],
  [1n, 0n],
])('a signature of %i and %i is none', (r, s) => {
  const signature = Uint8Array.of(...bytesOf(r), ...bytesOf(s));
  expect(curve.verify(signature, new Uint8Array(1), curve.publicOf(SECRETS[0]!))).toBe(false);
});

test.each([
  '',
  '30',
  '3006020101020101ff',
  '300602010102',
  '30070201010202ff01',
  '3007020200010201ff',
  '300702020001020101',
  '3106020101020101',
])('no signature in DER: %s', text => {
  const der = Uint8Array.from(Buffer.from(text, 'hex'));
  expect(() => readDer(der)).toThrow(expect.objectContaining({ code: 'bad_request' }));
});
