/**
 * Bearer tokens: who speaks, to which server, allowed to do what, until when.
 *
 * A token is a JWT signed by the key of its issuer, so nothing has to be looked up. Servers
 * verify them; a client makes them.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import { base64url, utf8 } from './bytes.ts';
import { sign } from './jws.ts';
import { BTC_ADDR, type PrivateKey } from './keys.ts';

/** What a token says. */
export interface TokenClaims {
  /** Canonical URL of the server, or of several. */
  audience: string | string[];
  /** `deliver`, `receive`, or both with a space between. */
  scope: string;
  /** Unix seconds; the token counts from the whole second before. */
  now: number;
  /** Seconds it counts; servers take at most an hour with `deliver`, a day without. */
  lifetime: number;
  /** A text of its own for each token. */
  jti: string;
  /** With `deliver`, 1 to 100 recipients, just as the deliveries will name them. */
  to?: string | string[] | undefined;
  /** Of the only body it delivers, see `digestOf`; left out: of many. */
  digest?: string | undefined;
  /** A name to claim, which needs `app`. */
  name?: string | undefined;
  /** Web origin the names belong to. */
  app?: string | undefined;
  /** The DID to speak as, if not the one the key goes by. */
  issuer?: string | undefined;
}

/** Makes a token signed by `key`. */
export function makeToken(key: PrivateKey, told: TokenClaims): string {
  const { audience, scope, now, lifetime, jti, to = [], digest, name, app } = told;
  const iss = told.issuer ?? key.did;
  const iat = Math.floor(now);
  return sign(key, {
    iss,
    aud: oneOrList(audience),
    scope,
    iat,
    exp: iat + lifetime,
    jti,
    public_keys: iss.startsWith(BTC_ADDR) ? [key.public.hex] : undefined,
    sub: name,
    app,
    to: to.length ? oneOrList(to) : undefined,
    digest,
  });
}

/** Returns the `digest` of a token that is for this body alone. */
export const digestOf = (body: string): string => `sha-256:${base64url(sha256(utf8(body)))}`;

const oneOrList = (value: string | string[]) =>
  Array.isArray(value) && value.length === 1 ? value[0] : value;
