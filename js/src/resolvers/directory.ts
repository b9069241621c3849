/**
 * The directory: who a name is and how to write to them, from all sources, with memory.
 *
 *     name, app -- a source --> identity -- contact document in its bucket --> destination
 *
 * Identities are remembered by name and app, contact documents by bucket and app. What is
 * signed cannot be made up, but put back: so of each signer the newest that was seen is
 * remembered longer than it is believed, and what is older is no news.
 */

import { Unproven } from '../errors.ts';
import { CONTACT, type ContactDocument, readContact } from '../identity/contact.ts';
import { MAX_DOCUMENT } from '../identity/documents.ts';
import { BTC_ADDR, type PublicKey } from '../identity/keys.ts';
import { bucketAddress, bucketUrl, type Form, formOf, validateApp } from '../identity/names.ts';
import { KEY_FILES, MAX_KEY_FILE, readPublishedKey } from '../identity/published.ts';
import { Recent } from '../protocol/recent.ts';
import { Cache, Outdated, SIZE } from './cache.ts';
import type { Fetcher } from './fetcher.ts';
import { fetchFile } from './places.ts';

/** Who a name is, for one app. */
export interface Identity {
  /** The identity. */
  did: string;
  /** Its public key, where the source tells it; else the contact document does. */
  key?: PublicKey | undefined;
  /** Read URL of its bucket, with a slash at the end. */
  bucket?: string | undefined;
  /** Its message servers, where the source tells them; else the contact document does. */
  servers?: string[] | undefined;
  /** Unix seconds at which the proof was signed, for one with a date. */
  signedAt?: number | undefined;
  /** Who signed it, by the address that owns the name. */
  signer?: string | undefined;
}

/** How to write to an identity. */
export interface Destination {
  /** The identity, and its mailbox. */
  did: string;
  /** What to encrypt to; undefined if nobody published it. */
  key: PublicKey | undefined;
  /** Its message servers in order of preference; empty: it cannot be reached by push. */
  servers: string[];
}

/**
 * Knows the names of one form: finds out who a name is in an app, at `now` (Unix seconds).
 *
 * Throws `Unproven` if the name is nobody's, and `resolver_unavailable` if nobody answers.
 */
export type Source = (name: string, app: string, now: number) => Promise<Identity>;

/** Who knows names of which form. */
export type Sources = Partial<Record<Form, Source>>;

/** What a bucket tells of how to write to its owner. */
interface Published {
  key: PublicKey | undefined;
  servers: string[];
  expires: number;
}

/** Resolves names of every form there is a source for, and remembers who they are. */
export class Directory {
  readonly #sources: Sources;
  readonly #fetcher: Fetcher;
  readonly #clock: () => number;
  readonly #identities: Cache<Identity>;
  readonly #published: Cache<Published>;
  readonly #newestProofs = new Recent<number>(SIZE);
  readonly #newestContacts = new Recent<ContactDocument>(SIZE);

  constructor(sources: Sources, fetcher: Fetcher, clock: () => number) {
    this.#sources = { 'bucket URL': bucketNames, ...sources };
    this.#fetcher = fetcher;
    this.#clock = clock;
    this.#identities = new Cache(clock);
    this.#published = new Cache(clock, published => published.expires);
  }

  /** Finds out who a name is. */
  identify(name: string, app: string): Promise<Identity> {
    return this.#identities.get(`${name} ${app}`, () => this.#askSource(name, app));
  }

  /**
   * Finds out how to write to who a name is.
   *
   * Key and servers are those the source tells; else those of the contact document in the
   * bucket; without one there are no servers, and the key is the one that profile or bucket
   * tell in an older way.
   */
  async reach(name: string, app: string): Promise<Destination> {
    const { did, bucket, key, servers = [] } = await this.identify(name, app);
    if (!bucket || (key && servers.length)) return { did, key, servers };
    const published = await this.#published.get(`${bucket} ${app}`, () =>
      this.#askBucket(bucket, app, key),
    );
    return {
      did,
      key: key ?? published.key,
      servers: servers.length ? servers : published.servers,
    };
  }

  /** Has all about a name asked for anew, 10 s after it was last asked for. */
  forget(name: string, app: string): void {
    const identity = this.#identities.believed(`${name} ${app}`);
    this.#identities.forget(`${name} ${app}`);
    if (identity?.bucket) this.#published.forget(`${identity.bucket} ${app}`);
  }

  // --- asking --------------------------------------------------------------------------

  async #askSource(name: string, app: string): Promise<Identity> {
    const form = formOf(name);
    const source = this.#sources[form];
    if (!source) throw new Unproven(`No ${form} is looked up here.`);
    const identity = await source(name, validateApp(app), this.#clock());
    if (identity.signedAt !== undefined) {
      // Who gets a name from another signs anew, so the owner need not be known.
      const proof = `${name} ${identity.signer}`;
      if (identity.signedAt < (this.#newestProofs.get(proof) ?? -Infinity)) {
        throw new Outdated('The proof of the name is older than one seen before.');
      }
      this.#newestProofs.set(proof, identity.signedAt);
    }
    return identity;
  }

  /** Asks a bucket for its contact document, or else for the key if it is not known. */
  async #askBucket(bucket: string, app: string, key: PublicKey | undefined): Promise<Published> {
    const address = bucketAddress(bucket);
    const json = await fetchFile(this.#fetcher, bucket + CONTACT, MAX_DOCUMENT);
    if (json !== undefined) {
      const contact = this.#readContact(json, address, app);
      return { ...contact, expires: contact.expires ?? Infinity };
    }
    // That there is no document is believed no longer than that there is no name.
    const expires = this.#clock() + 60;
    return { key: key ?? (await this.#askForKey(bucket, address)), servers: [], expires };
  }

  #readContact(json: string, address: string, app: string): ContactDocument {
    const reading = { address, app, now: this.#clock() };
    const place = `${address} ${app}`;
    const seen = this.#newestContacts.get(place);
    let contact: ContactDocument;
    try {
      contact = readContact(json, { ...reading, seen });
    } catch (error) {
      readContact(json, reading); // if it is worse than old, that is what is wrong with it
      throw new Outdated((error as Error).message);
    }
    this.#newestContacts.set(place, contact);
    return contact;
  }

  /** Looks for a key as apps published them once; undefined if there is none. */
  async #askForKey(bucket: string, address: string): Promise<PublicKey | undefined> {
    let unavailable: unknown;
    for (const path of KEY_FILES) {
      try {
        const file = await fetchFile(this.#fetcher, bucket + path, MAX_KEY_FILE);
        if (file !== undefined) return readPublishedKey(file, address);
      } catch (error) {
        // Another file may hold the right one.
        if (!(error instanceof Unproven)) unavailable = error;
      }
    }
    if (unavailable) throw unavailable;
    return undefined;
  }
}

/** Knows bucket URLs: the address at the end is the identity, so nobody is asked. */
const bucketNames: Source = async name => ({
  did: BTC_ADDR + bucketAddress(name),
  bucket: bucketUrl(name),
});
