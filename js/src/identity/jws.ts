/** Signed JSON in compact form (RFC 7515): three base64url segments joined by dots. */

import { PushdError } from '../errors.ts';
import { type Of, read as readJson, record, type Shape, text } from '../protocol/shape.ts';
import { base64url, fromBase64url, fromUtf8, utf8 } from './bytes.ts';
import type { PrivateKey, PublicKey } from './keys.ts';

const HEADER = /* @__PURE__ */ base64url(
  /* @__PURE__ */ utf8('{"alg":"ES256K","typ":"JWT"}'),
);

const unauthorized = (detail: string) => new PushdError('unauthorized', detail);

const header: Shape<Record<string, unknown>> = (value, member) => {
  const given = { typ: 'JWT', ...(value as Record<string, unknown>) };
  algorithm(given, member);
  // Each of these would let the token say how it wants to be verified.
  if (given.typ !== 'JWT' || ['crit', 'jku', 'x5u', 'jwk'].some(name => name in given)) {
    throw unauthorized('The header asks for more than a plain JWT.');
  }
  return given;
};
const algorithm = record({ alg: text });

/** Makes a token of claims; members that are undefined are left out. */
export function sign(key: PrivateKey, claims: object): string {
  const message = `${HEADER}.${base64url(utf8(JSON.stringify(claims)))}`;
  return `${message}.${base64url(key.sign(utf8(message)))}`;
}

/**
 * Returns the claims of a token, proven to be those of its signer.
 *
 * @param claims What it claims; other claims are let be.
 * @param signer Finds the key that had to sign in the claims.
 * @param most Characters it may have.
 */
export function readSigned<S extends Shape<unknown>>(
  token: string,
  claims: S,
  signer: (claims: Of<S>) => PublicKey,
  most: number,
): Of<S> {
  const parts = token.length <= most ? token.split('.') : [];
  const [head, body, signature] = parts.map(fromBase64url);
  if (parts.length !== 3 || !head || !body || !signature) {
    throw unauthorized('A token is three base64url segments joined by dots.');
  }
  if (readJson(utf8Of(head), header, 'header')['alg'] !== 'ES256K') {
    throw unauthorized('The alg of the token is not ES256K.');
  }
  const found = readJson(utf8Of(body), claims, 'claims') as Of<S>;
  const message = utf8(token.slice(0, token.lastIndexOf('.')));
  if (!signer(found).verify(signature, message)) {
    throw unauthorized('The signature of the token does not verify.');
  }
  return found;
}

function utf8Of(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    throw unauthorized('A segment of the token is not UTF-8.');
  }
}
