/**
 * Names of the kind did:web: a DID document on the host tells key and servers.
 *
 *     did:web:example.org          https://example.org/.well-known/did.json
 *     did:web:example.org:alice    https://example.org/alice/did.json
 *
 * Of the document (https://www.w3.org/TR/did-core/) the keys of secp256k1 count, and the
 * services of the types `MessagingServer` and `GaiaBucket`. It says the same for all apps, and
 * nobody signs it: it is as good as the host and TLS.
 */

import { badRequest, Unproven } from '../errors.ts';
import { concat, fromBase64url } from '../identity/bytes.ts';
import { listedServers } from '../identity/contact.ts';
import { orUnproven } from '../identity/documents.ts';
import { PublicKey } from '../identity/keys.ts';
import { anything, either, list, type Of, optional, read, record, text } from '../protocol/shape.ts';
import type { Source } from './directory.ts';
import type { Fetcher } from './fetcher.ts';
import { bucketOf, fetchFile } from './places.ts';

const jwk = record({ crv: optional(text), x: optional(text), y: optional(text) });
/** A key, in one of three spellings. */
const method = record({
  id: text,
  type: optional(text),
  publicKeyMultibase: optional(text),
  publicKeyHex: optional(text),
  publicKeyJwk: optional(jwk),
});
const relationship = optional(list(either(text, method)));
const service = record({ type: either(text, list(text)), serviceEndpoint: optional(anything) });
const document_ = record({
  id: text,
  verificationMethod: optional(list(method)),
  keyAgreement: relationship,
  authentication: relationship,
  assertionMethod: relationship,
  service: optional(list(service)),
});
type Method = Of<typeof method>;
type Document = Of<typeof document_>;

/** Knows `did:web:example.org:alice`. */
export const webNames =
  (fetcher: Fetcher): Source =>
  async name => {
    const json = await fetchFile(fetcher, urlOf(name, fetcher));
    if (json === undefined) throw new Unproven('There is no DID document on the host.');
    return orUnproven('DID document', () => {
      const document = read(json, document_, 'document');
      if (document.id !== name) throw new Unproven('It is about another DID.');
      const key = keyOf(document);
      return {
        did: key.did,
        key,
        bucket: bucketOf(key, endpoints(document, 'GaiaBucket')[0]),
        servers: listedServers(endpoints(document, 'MessagingServer'), 'MessagingServer'),
      };
    });
  };

function urlOf(name: string, fetcher: Fetcher): string {
  const [host = '', ...path] = name.slice('did:web:'.length).split(':');
  const place = host.replace('%3A', ':');
  const isPlain = fetcher.plain(place.includes(':') ? place : `${place}:80`);
  return `http${isPlain ? '' : 's'}://${place}/${path.join('/') || '.well-known'}/did.json`;
}

/** Lists the endpoints of all services of a type, in their order. */
function endpoints({ service = [] }: Document, wanted: string): string[] {
  return service
    .filter(({ type }) => [type].flat().includes(wanted))
    .flatMap(({ serviceEndpoint }) => serviceEndpoint)
    .filter(endpoint => typeof endpoint === 'string');
}

/** Returns the first key that can be encrypted to. */
function keyOf(document: Document): PublicKey {
  for (const method of methodsOf(document)) {
    try {
      return readKey(method);
    } catch {
      // Of a type or in a spelling unknown here.
    }
  }
  throw new Unproven('It tells no key of a type known here.');
}

/**
 * Yields the methods that are good for something, the best use first.
 *
 * One that no relationship refers to may be there only for what it signed once; but a
 * document that knows no relationships at all means them all.
 */
function* methodsOf(document: Document): Generator<Method> {
  const { id, verificationMethod = [], keyAgreement = [], authentication = [] } = document;
  const relations = [...keyAgreement, ...authentication, ...(document.assertionMethod ?? [])];
  if (!relations.length) yield* verificationMethod;
  const absolute = (url: string) => (url.startsWith('#') ? id + url : url);
  const byId = new Map(verificationMethod.map(method => [absolute(method.id), method]));
  for (const relation of relations) {
    const method = typeof relation === 'string' ? byId.get(absolute(relation)) : relation;
    if (method) yield method;
  }
}

function readKey({ type, publicKeyMultibase, publicKeyHex, publicKeyJwk }: Method): PublicKey {
  if (publicKeyMultibase !== undefined) return PublicKey.fromDid(`did:key:${publicKeyMultibase}`);
  if (publicKeyJwk !== undefined) return fromJwk(publicKeyJwk);
  if (publicKeyHex && type?.includes('Secp256k1')) return PublicKey.fromHex(publicKeyHex);
  throw badRequest('This is a key of another type.');
}

/** Reads a key as JSON (RFC 7517, RFC 8812). */
function fromJwk({ crv, x, y }: Of<typeof jwk>): PublicKey {
  if (crv !== 'secp256k1') throw badRequest('This is a key of another type.');
  const isOdd = (coordinate(y)[31] ?? 0) & 1;
  return new PublicKey(concat(Uint8Array.of(2 + isOdd), coordinate(x)));
}

function coordinate(text = ''): Uint8Array {
  const bytes = fromBase64url(text);
  if (bytes?.length !== 32) throw badRequest('A coordinate of a key is 32 bytes in base64url.');
  return bytes;
}
