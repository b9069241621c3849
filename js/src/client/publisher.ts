/**
 * What an identity says of itself in its bucket, so that others find its key and servers.
 *
 * The contact document is for whoever writes by this protocol; `key.json`, its key alone, for
 * apps that were there before. What is right already is not written again.
 */

import { Unproven } from '../errors.ts';
import { CONTACT, type ContactDocument, makeContact, readContact } from '../identity/contact.ts';
import type { PrivateKey } from '../identity/keys.ts';
import { KEY_FILES, readPublishedKey } from '../identity/published.ts';
import type { Clock } from './clock.ts';
import type { Bucket } from './gaia.ts';

const JSON_TYPE = 'application/json';
const KEY_FILE = KEY_FILES[0];

export class Publisher {
  readonly #key: PrivateKey;
  readonly #app: string;
  readonly #bucket: Bucket;
  readonly #clock: Clock;
  #newest = 0;

  constructor(key: PrivateKey, app: string, bucket: Bucket, clock: Clock) {
    this.#key = key;
    this.#app = app;
    this.#bucket = bucket;
    this.#clock = clock;
  }

  /**
   * Says how to write to this identity, where that is not said yet; returns the paths of the
   * files that were written.
   *
   * @param servers Its servers in order of preference; without any only the key is told.
   */
  async publish(servers: string[]): Promise<string[]> {
    const written: string[] = [];
    if (servers.length && (await this.#publishContact(servers))) written.push(CONTACT);
    if (await this.#publishKey()) written.push(KEY_FILE);
    return written;
  }

  async #publishContact(servers: string[]): Promise<boolean> {
    const there = await this.#read(CONTACT, json => this.#readContact(json));
    if (there) {
      const putBack = there.issuedAt < this.#newest;
      if (`${there.servers}` === `${servers}` && !putBack) return false;
      this.#newest = Math.max(this.#newest, there.issuedAt);
    }
    // Newer than whatever was there, or those who saw that would not believe it.
    const now = Math.max(this.#clock(), this.#newest + 0.001);
    this.#newest = Math.round(now * 1000) / 1000;
    const contact = makeContact(this.#key, { servers, app: this.#app, now: this.#newest });
    await this.#bucket.store(CONTACT, contact, JSON_TYPE);
    return true;
  }

  #readContact(json: string): ContactDocument {
    const { address } = this.#bucket;
    return readContact(json, { address, app: this.#app, now: this.#clock() });
  }

  async #publishKey(): Promise<boolean> {
    const { address } = this.#bucket;
    if (await this.#read(KEY_FILE, file => readPublishedKey(file, address))) return false;
    await this.#bucket.store(KEY_FILE, JSON.stringify(this.#key.public.hex), JSON_TYPE);
    return true;
  }

  /** Reads what is there, if it is good. */
  async #read<T>(path: string, parse: (text: string) => T): Promise<T | undefined> {
    const file = await this.#bucket.read(path);
    try {
      return file && parse(new TextDecoder().decode(file));
    } catch (error) {
      if (!(error instanceof Unproven)) throw error;
      return undefined;
    }
  }
}
