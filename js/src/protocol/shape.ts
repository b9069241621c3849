/**
 * Shapes: what JSON from outside has to look like, and the types that follow from it.
 *
 * A shape takes a value and returns it checked, or throws `bad_request` naming the member.
 * Members that no shape names are dropped: a newer peer may say more.
 */

import { badRequest } from '../errors.ts';

export type Shape<T> = (value: unknown, member: string) => T;
/** What a shape returns. */
export type Of<S> = S extends Shape<infer T> ? T : never;

type Members = Record<string, Shape<unknown>>;
type Optional<M> = { [K in keyof M]: undefined extends Of<M[K]> ? K : never }[keyof M];
type Record_<M> = { [K in Exclude<keyof M, Optional<M>>]: Of<M[K]> } & {
  [K in Optional<M>]?: Exclude<Of<M[K]>, undefined>;
};
/** An object with the members of shapes; those that may be undefined may be left out. */
export type Shaped<M> = { [K in keyof Record_<M>]: Record_<M>[K] };

const expect =
  <T>(what: string, fits: (value: unknown) => boolean): Shape<T> =>
  (value, member) => {
    if (!fits(value)) throw badRequest(`${member} is not ${what}.`);
    return value as T;
  };

export const text = expect<string>('a text', v => typeof v === 'string');
export const number = expect<number>('a number', v => typeof v === 'number');
export const integer = expect<number>('an integer', Number.isInteger);
export const flag = expect<boolean>('true or false', v => typeof v === 'boolean');
export const anything: Shape<unknown> = value => value;

/** One of these texts. */
export const oneOf = <T extends string>(...texts: T[]) =>
  expect<T>(`one of ${texts}`, value => texts.includes(value as T));

/** What may be left out. */
export const optional =
  <T>(shape: Shape<T>): Shape<T | undefined> =>
  (value, member) =>
    value === undefined ? undefined : shape(value, member);

/** Either of two. */
export const either =
  <T, U>(one: Shape<T>, other: Shape<U>): Shape<T | U> =>
  (value, member) => {
    try {
      return one(value, member);
    } catch {
      return other(value, member);
    }
  };

/** A list of at most so many. */
export const list =
  <T>(shape: Shape<T>, most = Infinity): Shape<T[]> =>
  (value, member) => {
    if (!Array.isArray(value) || value.length > most) throw badRequest(`${member} is no list.`);
    return value.map((one, place) => shape(one, `${member}[${place}]`));
  };

/** An object with at least these members. */
export const record =
  <M extends Members>(members: M): Shape<Shaped<M>> =>
  (value, member) => {
    const found: Record<string, unknown> = {};
    const given = object(value, member);
    for (const [name, shape] of Object.entries(members)) {
      const checked = shape(Object.hasOwn(given, name) ? given[name] : undefined, name);
      if (checked !== undefined) found[name] = checked;
    }
    return found as Shaped<M>;
  };

/** An object, whatever it holds. */
export const object = expect<Record<string, unknown>>(
  'an object',
  value => typeof value === 'object' && value !== null && !Array.isArray(value),
);

/**
 * Reads JSON of a shape; of duplicate members the last counts.
 *
 * @param what What to call it in an error.
 */
export function read<T>(json: string, shape: Shape<T>, what: string): T {
  return shape(parse(json, what), what);
}

/** Reads JSON. */
export function parse(json: string, what: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw badRequest(`${what} is not JSON.`);
  }
}
