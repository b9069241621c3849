/** Reads the vectors of `spec/vectors` for the tests that replay them. */

import { readFileSync } from 'node:fs';

// The files are described beside them, not typed.
export type Json = any;

/** Reads a file of vectors. */
export const load = (name: string): Json =>
  JSON.parse(readFileSync(new URL(`../../../spec/vectors/${name}`, import.meta.url), 'utf8'));

/** Names cases for `test.each`, by their ids if they have. */
export const cases = (list: Json[]): [string, Json][] =>
  list.map((one, place) => [String(one.id ?? place), one]);

export const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Runs, and returns the code of the error it throws. */
export function refusal(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}
