/**
 * Profiles: a JSON array of one signed token that leads from a name to its buckets.
 *
 * The key that owns a name signs which apps its user is in, and where the bucket of each
 * is. Beside the token the array holds a copy of its claims in plain, `decodedToken`, which
 * nobody signed; it is written for old readers and never looked at.
 */

import { badRequest, Unproven } from '../errors.ts';
import {
  anything,
  either,
  list,
  number,
  object,
  optional,
  read,
  record,
  text,
} from '../protocol/shape.ts';
import { hex, unhex } from './bytes.ts';
import { LEEWAY, orUnproven } from './documents.ts';
import { readSigned } from './jws.ts';
import { hash160, PublicKey } from './keys.ts';
import { bucketUrl } from './names.ts';

/** Bytes of the longest profile; most of them are the copy beside the token. */
export const MAX_PROFILE = 256 * 1024;

/** What the owner of a name signed. */
export interface Profile {
  /** Read URL of the bucket in each app, by web origin, as the owner wrote it. */
  apps: Record<string, string>;
  /** Public key in each app; unproven until it hashes to the bucket's address. */
  keys: Record<string, string>;
  /** Unix seconds. */
  signedAt: number;
}

const holder = record({ publicKey: text });
const entries = list(record({ token: text }));
const claims = record({
  iat: either(number, text),
  exp: optional(either(number, text)),
  subject: holder,
  issuer: holder,
  claim: record({ apps: optional(anything), appsMeta: optional(anything) }),
});

/**
 * Reads a profile; throws `Unproven` unless the owner of the name signed it.
 *
 * One whose `exp` is past is refused. blockstack.js and @stacks/profile take it: here the
 * old copy of a profile must not lead to a bucket for ever.
 *
 * @param owner Hash of the key that owns the name, the 20 bytes in its address.
 * @param now Unix seconds.
 */
export function readProfile(json: string, owner: Uint8Array, now: number): Profile {
  return orUnproven('profile', () => {
    const token = read(json, entries, 'profile')[0]?.token ?? '';
    const told = readSigned(
      token,
      claims,
      ({ subject, issuer }) => {
        PublicKey.fromPoint(unhex(subject.publicKey));
        // The hash is over the bytes as they are given, even if those are uncompressed.
        const raw = unhex(issuer.publicKey);
        if (hex(hash160(raw)) !== hex(owner)) {
          throw new Unproven("It is signed by another key than the name's owner.");
        }
        return PublicKey.fromPoint(raw);
      },
      MAX_PROFILE,
    );
    const signedAt = seconds(told.iat);
    if (signedAt > now + LEEWAY) throw new Unproven('It is from the future.');
    if (told.exp !== undefined && seconds(told.exp) <= now) {
      throw new Unproven('It has expired; its owner has to sign it again.');
    }
    const keys: Record<string, unknown> = {};
    for (const [app, meta] of Object.entries(members(told.claim.appsMeta))) {
      keys[app] = members(meta)['publicKey'];
    }
    return { apps: texts(members(told.claim.apps)), keys: texts(keys), signedAt };
  });
}

/** Returns the read URL of the bucket in an app, with a slash at the end. */
export function bucketIn(profile: Profile, app: string): string {
  const url = Object.hasOwn(profile.apps, app) ? profile.apps[app] : undefined;
  if (url === undefined) throw new Unproven('The profile does not list the app.');
  return orUnproven('profile', () => bucketUrl(url));
}

/** Returns the members of an object; anything else has none. */
function members(value: unknown): Record<string, unknown> {
  try {
    return object(value, '');
  } catch {
    return {};
  }
}

const texts = (members: Record<string, unknown>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(members).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );

/** Reads a time as the libraries write it, ISO 8601, or as tokens do, Unix seconds. */
function seconds(time: string | number): number {
  if (typeof time === 'number') return time;
  const at = Date.parse(/[+-]\d\d:?\d\d$|Z$/.test(time) ? time : `${time}Z`);
  if (Number.isNaN(at)) throw badRequest('A time in it is not in ISO 8601.');
  return at / 1000;
}
