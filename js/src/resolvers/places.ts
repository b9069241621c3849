/**
 * Asking the places where it is told who a name is, and what each kind of silence means.
 *
 * A source's own API is trusted: what it should not say means that it is out of order. A
 * user's place is not: what does not verify there proves nothing.
 */

import { PushdError, Unproven } from '../errors.ts';
import { MAX_DOCUMENT } from '../identity/documents.ts';
import { BTC_ADDR, type PublicKey } from '../identity/keys.ts';
import { bucketAddress, bucketUrl } from '../identity/names.ts';
import { read, type Shape } from '../protocol/shape.ts';
import { type Fetcher, FetchFailed, fetchText } from './fetcher.ts';

const unavailable = () =>
  new PushdError('resolver_unavailable', 'A place where a name is told does not answer.');

/** Fetches a file; undefined if there is none. Throws `resolver_unavailable`. */
export async function fetchFile(fetcher: Fetcher, url: string, limit = MAX_DOCUMENT) {
  try {
    return await fetchText(fetcher, url, limit);
  } catch (error) {
    if (!(error instanceof FetchFailed)) throw error;
    throw unavailable();
  }
}

/**
 * Asks the API of a source; throws `resolver_unavailable` if it says anything else than it
 * should.
 *
 * @param nothing What it means if it answers that there is nothing; a sentence.
 */
export async function askApi<T>(
  fetcher: Fetcher,
  url: string,
  shape: Shape<T>,
  nothing: string,
): Promise<T> {
  const found = await fetchFile(fetcher, url);
  if (found === undefined) throw new Unproven(nothing);
  try {
    return read(found, shape, 'The answer');
  } catch {
    throw unavailable();
  }
}

/** Returns the URL of a key's own bucket; undefined if none is told. */
export function bucketOf(key: PublicKey, url: string | undefined): string | undefined {
  if (url === undefined) return undefined;
  if (BTC_ADDR + bucketAddress(url) !== key.did) {
    throw new Unproven("The bucket's address is not the hash of the key.");
  }
  return bucketUrl(url);
}
