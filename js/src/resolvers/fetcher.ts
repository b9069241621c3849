/**
 * The fetcher: the one way out to URLs that somebody else chose, narrow on purpose.
 *
 * What comes back is small, quick, and from the host that was asked. A page cannot see which
 * address a name leads to, so it cannot keep private networks out as the Python client does:
 * addresses written as numbers, and names of this machine, are refused, and a browser's own
 * rules do the rest.
 */

import { concat, fromUtf8 } from '../identity/bytes.ts';
import { placeOf } from '../protocol/urls.ts';

/** Seconds a fetch may take. */
const SECONDS = 10;
/** Hosts whose name has a top-level domain; a number has none. */
const NAMED = /\.[a-z][a-z0-9-]*$/;
/** Hosts that are in a private network in spite of that. */
const PRIVATE = /\.(local|localhost|internal|home\.arpa)$/;

/** A file could not be fetched; whatever it was, the sentence is the same. */
export class FetchFailed extends Error {
  override name = 'FetchFailed';

  constructor() {
    super('The file could not be fetched.');
  }
}

/** Fetches files from URLs nobody vouches for. */
export class Fetcher {
  readonly #devHosts: readonly string[];

  /** @param devHosts Development hosts as `host:port`, where http is allowed. */
  constructor(devHosts: readonly string[] = []) {
    this.#devHosts = devHosts;
  }

  /** Tells of `host:port` whether http is good enough there. */
  readonly plain = (place: string): boolean => this.#devHosts.includes(place);

  /** Tells whether a URL leads where one may go. */
  allows(url: string): boolean {
    const { scheme, host, hostPort } = placeOf(url);
    return this.plain(hostPort) || (scheme === 'https' && NAMED.test(host) && !PRIVATE.test(host));
  }

  /** Asks a place nobody vouches for; the body is undefined where it is longer than `limit`. */
  async ask(url: string, asked: RequestInit, limit: number, seconds = SECONDS): Promise<Answer> {
    if (!this.allows(url)) throw new FetchFailed();
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(), seconds * 1000);
    try {
      const response = await fetch(url, {
        cache: 'no-cache',
        ...asked,
        credentials: 'omit',
        redirect: 'error',
        referrerPolicy: 'no-referrer',
        signal: ending.signal,
      });
      const { status, headers } = response;
      return { status, headers, body: await readBody(response, limit) };
    } catch {
      throw new FetchFailed();
    } finally {
      clearTimeout(timer);
      ending.abort();
    }
  }
}

/** Fetches the text of a file; undefined if there is none. Throws `FetchFailed`. */
export async function fetchText(
  fetcher: Fetcher,
  url: string,
  limit: number,
): Promise<string | undefined> {
  const { status, body } = await fetcher.ask(url, {}, limit);
  if (status === 404 || status === 410) return undefined;
  if (status !== 200 || !body) throw new FetchFailed();
  try {
    return fromUtf8(body);
  } catch {
    throw new FetchFailed();
  }
}

export interface Answer {
  status: number;
  headers: Headers;
  body: Uint8Array | undefined;
}

/** Reads a body, in pieces where the system has them, and no further than a limit. */
async function readBody(response: Response, limit: number): Promise<Uint8Array | undefined> {
  if (!response.body?.getReader) {
    const whole = new Uint8Array(await response.arrayBuffer());
    return whole.length > limit ? undefined : whole;
  }
  const reader = response.body.getReader();
  const pieces: Uint8Array[] = [];
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return concat(...pieces);
    size += value.length;
    if (size > limit) return undefined;
    pieces.push(value);
  }
}
