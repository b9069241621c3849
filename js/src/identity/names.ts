/**
 * Names: what people are called, and where each form of a name leads.
 *
 *     alice.id.blockstack, alice.id       a Blockstack name: names API, zone file, profile
 *     alice.btc                           a name of BNS V2: its zone file on the chain
 *     did:web:example.org:alice           a DID document at the host's well-known place
 *     https://gaia.example/hub/1Addr...   a bucket; its last segment is the key's hash
 *
 * A name belongs to an identity within one app, and means nothing until it is proven.
 */

import { badRequest } from '../errors.ts';
import { validateAddress } from './keys.ts';

/** Characters of the longest name, and of the longest web origin. */
const MAX_NAME = 256;

/** The forms of names. */
export type Form = 'Blockstack name' | 'name of BNS V2' | 'did:web' | 'bucket URL';

/** Makes a pattern of its parts; a bundler leaves those out that nobody uses. */
const pattern = (...parts: string[]): RegExp =>
  new RegExp(`^${parts.map(part => PARTS[part] ?? part).join('')}$`);

const LABEL = '[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const PARTS: Record<string, string> = {
  label: LABEL,
  host: `${LABEL}(?:\\.${LABEL})*`,
  port: '([1-9][0-9]{0,4})',
};
const BLOCKSTACK = /* @__PURE__ */ pattern('label', '\\.', 'label', '(?:\\.', 'label', ')?');
const BNS = /* @__PURE__ */ pattern('label', '\\.btc');
const WEB = /* @__PURE__ */ pattern('did:web:', 'host', '(?:%3A', 'port', ')?((?::[A-Za-z0-9._-]+)*)');
const BUCKET = pattern(
  'https?://',
  'host',
  '(?::',
  'port',
  ')?((?:/[A-Za-z0-9._~-]+)*)/(1[1-9A-HJ-NP-Za-km-z]{25,34})/?',
);
const ORIGIN = /* @__PURE__ */ pattern('(https?)://', 'host', '(?::', 'port', ')?');

/** Tells the form of a name; throws `bad_request` if it is none in its canonical spelling. */
export function formOf(name: string): Form {
  if (name.length > MAX_NAME) throw badRequest(`A name has at most ${MAX_NAME} characters.`);
  if (name.startsWith('did:')) {
    const match = WEB.exec(name);
    if (match && leadsThere(match[1], match[2], ':')) return 'did:web';
  } else if (name.includes('://')) {
    bucketAddress(name);
    return 'bucket URL';
  } else if (BNS.test(name)) return 'name of BNS V2';
  else if (BLOCKSTACK.test(name)) return 'Blockstack name';
  throw badRequest('A name is like alice.id.blockstack or the URL of a bucket, in lower case.');
}

/** Tells a name from the DID of a mailbox; whether it is a good one is not looked at. */
export const isName = (text: string): boolean =>
  !text.startsWith('did:') || text.startsWith('did:web:');

/** Returns the address a bucket's URL ends in, the hash of its owner's key. */
export function bucketAddress(url: string): string {
  const [, port, path, address = ''] = BUCKET.exec(url) ?? [];
  if (!address || !leadsThere(port, path, '/') || url.length > MAX_NAME) {
    throw badRequest("A bucket's URL is https://host/path/1Address, its host in lower case.");
  }
  return validateAddress(address);
}

/** Returns the URL of a bucket with a slash at the end. */
export function bucketUrl(url: string): string {
  bucketAddress(url);
  return url.endsWith('/') ? url : `${url}/`;
}

/** Returns `origin` if it is a web origin in its one spelling (RFC 6454 section 6.2). */
export function validateApp(origin: string): string {
  const [, scheme, port] = ORIGIN.exec(origin) ?? [];
  const usual = port === (scheme === 'https' ? '443' : '80');
  if (!scheme || !isPort(port) || usual || origin.length > MAX_NAME) {
    throw badRequest('An app is an origin like https://app.example, without a slash.');
  }
  return origin;
}

/** Tells whether a URL has a port there is, and no step that leads elsewhere. */
function leadsThere(port: string | undefined, path: string | undefined, separator: string) {
  return isPort(port) && !path?.split(separator).some(step => step === '.' || step === '..');
}

const isPort = (digits: string | undefined) => !(Number(digits) > 65535);
