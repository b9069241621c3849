/**
 * Contact documents: how to write to the owner of a bucket, signed by its key.
 *
 *     1Addr.../.well-known/messaging.json
 *     {"version": 1, "publicKey": "02...", "messagingServers": ["https://..."], "token": ...}
 *
 * The hash of the key is the bucket's address, so nobody else can sign one: not who keeps
 * the bucket, nor who carries the document. The plain members are for people to read.
 */

import { badRequest, Unproven } from '../errors.ts';
import { canonicalUrl, placeOf } from '../protocol/urls.ts';
import { list, number, optional, read, record, type Shape, text } from '../protocol/shape.ts';
import { LEEWAY, MAX_DOCUMENT, orUnproven } from './documents.ts';
import { readSigned, sign } from './jws.ts';
import { BTC_ADDR, type PrivateKey, PublicKey } from './keys.ts';
import { validateApp } from './names.ts';

/** Where the document lies, relative to the bucket's read URL. */
export const CONTACT = '.well-known/messaging.json';
const VERSION = 1;

/** A verified contact document. */
export interface ContactDocument {
  /** What to encrypt to; also who signed. */
  key: PublicKey;
  /** Message servers in order of preference, as listed, also of kinds unknown here. */
  servers: string[];
  /** Web origin of the app it is for. */
  app: string;
  /** Unix seconds; the newer document replaces the older. */
  issuedAt: number;
  /** Unix seconds; undefined has no end. */
  expires: number | undefined;
}

const entry: Shape<string> = (value, member) => {
  if (text(value, member).length > 512) throw badRequest('A server has at most 512 characters.');
  return value as string;
};
/** As many message servers as somebody may list. */
export const listedServers = list(entry, 8);
const servers: Shape<string[]> = (value, member) => {
  const found = listedServers(value, member);
  if (!found.length) throw badRequest('Somebody lists 1 to 8 message servers.');
  return found;
};

const document_ = record({ version: number, token: text });
const claims = record({
  iss: text,
  public_keys: list(text),
  messagingServers: servers,
  app: text,
  iat: number,
  exp: optional(number),
});

/**
 * Makes a contact document, as it is stored.
 *
 * @param now Unix seconds; later than any made before, or readers keep that one.
 */
export function makeContact(
  key: PrivateKey,
  told: { servers: string[]; app: string; now: number },
): string {
  const messagingServers = servers(told.servers, 'servers');
  const publicKey = key.public.hex;
  const token = sign(key, {
    iss: key.did,
    public_keys: [publicKey],
    messagingServers,
    app: validateApp(told.app),
    iat: Math.round(told.now * 1000) / 1000,
  });
  return JSON.stringify({ version: VERSION, publicKey, messagingServers, token }, null, 2);
}

/** Who reads a contact document, and what is known. */
export interface Reading {
  /** Address of the bucket it was found in. */
  address: string;
  /** Web origin of the app the bucket was looked up for. */
  app: string;
  /** Unix seconds. */
  now: number;
  /** The document last read there: an older one, or another of the same time, was put back. */
  seen?: ContactDocument | undefined;
}

/** Reads a contact document; throws `Unproven` unless the owner of the bucket signed it. */
export function readContact(json: string, reading: Reading): ContactDocument {
  return orUnproven('contact document', () => {
    const { version, token } = read(json, document_, 'document');
    if (version !== VERSION) throw new Unproven(`It is not of version ${VERSION}.`);
    let key: PublicKey | undefined;
    const found = readSigned(token, claims, told => (key = signer(told, reading)), MAX_DOCUMENT);
    const contact = {
      key: key as PublicKey,
      servers: found.messagingServers,
      app: found.app,
      issuedAt: found.iat,
      expires: found.exp,
    };
    check(contact, reading);
    return contact;
  });
}

function signer(claims: { iss: string; public_keys: string[] }, { address }: Reading): PublicKey {
  const [publicKey, second] = claims.public_keys;
  if (!publicKey || second !== undefined) throw new Unproven('It does not tell one key.');
  const key = PublicKey.fromHex(publicKey);
  if (key.did !== claims.iss || key.did !== BTC_ADDR + address) {
    throw new Unproven('It is not of the owner of the bucket.');
  }
  return key;
}

function check(contact: ContactDocument, { app, now, seen }: Reading): void {
  if (contact.app !== app) throw new Unproven('It is for another app.');
  if (contact.issuedAt > now + LEEWAY) throw new Unproven('It is from the future.');
  if (contact.expires !== undefined && contact.expires <= now) throw new Unproven('It is over.');
  if (!seen || isSame(contact, seen)) return;
  if (contact.issuedAt <= seen.issuedAt) throw new Unproven('It is older than one seen before.');
}

const isSame = (one: ContactDocument, other: ContactDocument) =>
  JSON.stringify({ ...one, key: one.key.hex }) === JSON.stringify({ ...other, key: other.key.hex });

/**
 * Returns those servers of a contact document that speak this protocol, as canonical URLs.
 *
 * @param plain Tells of `host:port` whether http is good enough there.
 */
export function pushdServers(servers: string[], plain: (place: string) => boolean): string[] {
  const found = new Set<string>();
  for (const entry of servers) {
    try {
      const url = canonicalUrl(entry);
      if (url.startsWith('https:') || plain(placeOf(url).hostPort)) found.add(url);
    } catch {
      // A server of another kind.
    }
  }
  return [...found];
}
