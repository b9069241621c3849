/**
 * Signed documents as they lie in buckets: proven by their token, or by nothing.
 *
 * Whoever keeps the bucket can write what they like beside the token, so only the claims in
 * it count, and those only once the signer they name is the one who had to sign.
 */

import { PushdError, Unproven } from '../errors.ts';

/** Bytes of the longest document, and characters of the longest token in one. */
export const MAX_DOCUMENT = 64 * 1024;
/** Seconds by which the clock of a document's author may be ahead. */
export const LEEWAY = 300;

/** Reads a document; whatever is wrong with it, it proves nothing. */
export function orUnproven<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PushdError || error instanceof Unproven)) throw error;
    throw new Unproven(`The ${what} proves nothing. ${error.message}`);
  }
}
