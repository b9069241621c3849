/**
 * Gaia: the files of one key, on the hub that its owner chose.
 *
 * A bucket is named by the hash of its owner's key. Only the owner writes, by the hub;
 * everybody reads, at the URL that the hub says (https://github.com/stacks-network/gaia).
 * Writes are tried again while that may help: to store the same twice is to do it once.
 */

import { GaiaError } from '../errors.ts';
import { randomText, utf8 } from '../identity/bytes.ts';
import { sign } from '../identity/jws.ts';
import { address, type PrivateKey } from '../identity/keys.ts';
import { bucketAddress } from '../identity/names.ts';
import { anything, optional, read, record, text } from '../protocol/shape.ts';
import { canonicalUrl } from '../protocol/urls.ts';
import { type Answer, Fetcher, FetchFailed } from '../resolvers/fetcher.ts';
import { type Clock, Patience, unixSeconds } from './clock.ts';
import { quotePath } from './paths.ts';

/** Seconds a token is valid. */
const TOKEN_LIFETIME = 3600;
/** Bytes of the longest answer of a hub. */
const MAX_ANSWER = 1024 * 1024;
/** Seconds a hub may take; the cloud behind it may take long over a large file. */
const SECONDS = 60;
/** Another write is under way, too many requests; or the hub cannot answer now. */
const BUSY = [409, 429, 500, 502, 503, 504];

const SENTENCES: Record<number, string> = {
  401: 'The hub does not let this key do that.',
  402: 'The hub asks for proof of who writes, or for money.',
  403: 'The hub does not let this key do that.',
  409: 'Another write to this path is under way.',
  412: 'The file is not what it was expected to be.',
  413: 'The file is larger than the hub takes.',
  429: 'The hub wants fewer requests, or less stored.',
};

const hubInfo = record({ challenge_text: text, read_url_prefix: text });
const stored = record({ etag: optional(anything) });

export interface BucketOptions {
  /** The way out, as the hub is nobody's we know. */
  fetcher?: Fetcher | undefined;
  /** Development hosts as `host:port`, where http is allowed; for want of a fetcher. */
  devHosts?: readonly string[] | undefined;
  /** Seconds all attempts of one call may take. */
  giveUpAfter?: number | undefined;
  clock?: Clock | undefined;
}

/** One key's bucket on a Gaia hub. */
export class Bucket {
  /** The bucket's name on the hub, the hash of the key. */
  readonly address: string;
  /** Canonical URL of the hub. */
  readonly hub: string;
  readonly #key: PrivateKey;
  readonly #fetcher: Fetcher;
  readonly #giveUpAfter: number;
  readonly #clock: Clock;
  #info: Promise<{ challenge: string; prefix: string }> | undefined;
  #token = '';
  #tokenExpires = 0;

  constructor(key: PrivateKey, hub: string, options: BucketOptions = {}) {
    this.address = address(key.public.raw);
    this.hub = canonicalUrl(hub);
    this.#key = key;
    this.#fetcher = options.fetcher ?? new Fetcher(options.devHosts);
    this.#giveUpAfter = options.giveUpAfter ?? 30;
    this.#clock = options.clock ?? unixSeconds;
  }

  /** Returns the URL at which everybody reads the bucket, with a slash at the end. */
  async url(): Promise<string> {
    return `${(await this.#learn()).prefix}${this.address}/`;
  }

  /**
   * Stores a file, and returns its etag.
   *
   * @param type Media type with which it will be read.
   */
  async store(
    path: string,
    content: string | Uint8Array,
    type = 'application/octet-stream',
  ): Promise<string | undefined> {
    const url = `${this.hub}/store/${this.address}/${quotePath(path)}`;
    const body = (typeof content === 'string' ? utf8(content) : content) as BufferSource;
    const headers = { 'Content-Type': type };
    const answer = await this.#askAsOwner(url, { method: 'POST', body, headers });
    const { etag } = decode(answer, stored);
    return typeof etag === 'string' ? etag : undefined;
  }

  /** Reads a file of this bucket, undefined if there is none. */
  async read(path: string, limit = 64 * 1024): Promise<Uint8Array | undefined> {
    const answer = await this.#ask((await this.url()) + quotePath(path), {}, limit);
    if (answer.status === 404 || answer.status === 410) return undefined;
    if (answer.status !== 200) throw refusal(answer.status);
    if (!answer.body) throw new GaiaError(`The file has more than ${limit} bytes.`);
    return answer.body;
  }

  /** Deletes a file; false: there was none. */
  async delete(path: string): Promise<boolean> {
    const url = `${this.hub}/delete/${this.address}/${quotePath(path)}`;
    const { status } = await this.#askAsOwner(url, { method: 'DELETE' });
    if (status !== 404 && status >= 300) throw refusal(status);
    return status !== 404;
  }

  // --- the parts -----------------------------------------------------------------------

  #learn(): Promise<{ challenge: string; prefix: string }> {
    this.#info ??= this.#askInfo().catch(error => {
      this.#info = undefined;
      throw error;
    });
    return this.#info;
  }

  async #askInfo(): Promise<{ challenge: string; prefix: string }> {
    const answer = await this.#ask(`${this.hub}/hub_info`, {});
    const { challenge_text: challenge, read_url_prefix: prefix } = decode(answer, hubInfo);
    // Refused is what would lead those who read the bucket astray.
    try {
      bucketAddress(`${prefix}${this.address}/`); // fails without the slash, too
      if (!this.#fetcher.allows(prefix)) throw new FetchFailed();
    } catch {
      throw new GaiaError('The hub names no https URL to read from, with a slash.');
    }
    return { challenge, prefix };
  }

  /** Asks what only the owner may; anew if the hub takes the token for an old one. */
  async #askAsOwner(url: string, asked: RequestInit): Promise<Answer> {
    const answer = await this.#askWithToken(url, asked);
    if (answer.status !== 401) return answer;
    // The challenge may be another by now, or all tokens may have been revoked.
    this.#info = undefined;
    this.#token = '';
    return this.#askWithToken(url, asked);
  }

  async #askWithToken(url: string, asked: RequestInit): Promise<Answer> {
    const token = this.#makeToken((await this.#learn()).challenge);
    const headers = { ...asked.headers, Authorization: `bearer v1:${token}` };
    return this.#ask(url, { ...asked, headers });
  }

  /** Asks until it is answered in a way that does not pass by itself. */
  async #ask(url: string, asked: RequestInit, limit = MAX_ANSWER): Promise<Answer> {
    const patience = new Patience(this.#giveUpAfter);
    for (;;) {
      let failure = new GaiaError('The hub does not answer.');
      let retryAfter = 0;
      try {
        const answer = await this.#fetcher.ask(url, asked, limit, SECONDS);
        if (!BUSY.includes(answer.status)) return answer;
        failure = refusal(answer.status);
        retryAfter = Number(answer.headers.get('Retry-After')) || 0;
      } catch (error) {
        if (!(error instanceof FetchFailed)) throw error;
        if (!this.#fetcher.allows(url)) throw failure;
      }
      if (!(await patience.pause(retryAfter))) throw failure;
    }
  }

  /** Returns a token that lasts a while. */
  #makeToken(gaiaChallenge: string): string {
    const now = Math.floor(this.#clock());
    if (!this.#token || this.#tokenExpires - now < TOKEN_LIFETIME / 4) {
      this.#tokenExpires = now + TOKEN_LIFETIME;
      this.#token = sign(this.#key, {
        gaiaChallenge,
        hubUrl: this.hub, // so that no hub can use it at another
        iss: this.#key.public.hex,
        salt: randomText(),
        iat: now,
        exp: this.#tokenExpires,
      });
    }
    return this.#token;
  }
}

function refusal(status: number): GaiaError {
  return new GaiaError(SENTENCES[status] ?? `The hub answers with ${status}.`, status);
}

function decode<T>(answer: Answer, shape: (value: unknown, member: string) => T): T {
  if (answer.status < 200 || answer.status >= 300) throw refusal(answer.status);
  try {
    return read(new TextDecoder().decode(answer.body), shape, 'The answer');
  } catch {
    throw new GaiaError('The answer is not that of a Gaia hub.');
  }
}
