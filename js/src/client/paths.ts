/** Paths of files in a bucket: checked, and written for a URL. */

import { badRequest } from '../errors.ts';

/** Characters of the longest path; object stores take no more. */
const MAX_PATH = 1024;

/**
 * Returns a path as it stands in a URL, each segment percent-encoded (RFC 3986).
 *
 * Two dots are refused wherever they stand, as a hub refuses them.
 */
export function quotePath(path: string): string {
  const segments = path.split('/');
  const leads = segments.some(segment => !segment || segment === '.') || path.includes('..');
  if (leads || path.length > MAX_PATH || /[\0-\x1f\x7f-\x9f]/.test(path)) {
    throw badRequest('A path is like notes/1.txt, without two dots or control characters.');
  }
  return segments.map(quote).join('/');
}

/** Quotes as RFC 3986 does, which reserves more than `encodeURIComponent` knows. */
const quote = (segment: string) =>
  encodeURIComponent(segment).replace(
    /[!'()*]/g,
    letter => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
