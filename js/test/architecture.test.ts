/** The house stands as designed: imports go down only, and the pure parts stay pure. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';

const SRC = new URL('../src', import.meta.url).pathname;
/** The parts, the lowest first. A part sees those below it, never one above. */
const LAYERS = ['errors', 'protocol', 'identity', 'resolvers', 'client', 'index', 'parts', 'radiks'];
/** Names by which clocks, chance and the outside world are reached. */
const IMPURE =
  /\b(Date\.now|performance|Math\.random|setTimeout|setInterval|fetch|WebSocket|console|navigator|indexedDB|localStorage)\b/;
/** Where what has to be random is drawn. */
const RANDOM = ['identity/bytes.ts', 'identity/curve.ts'];

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .map(name => ({ name, text: readFileSync(join(SRC, name), 'utf8') }));
const layer = (name: string) => LAYERS.indexOf(name.split('/')[0]!.replace(/\.ts$/, ''));
const code = (text: string) => text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');

/** Tells what a file imports against the direction of the layers. */
function wrongDirections(name: string, text: string): string[] {
  const imported = [...text.matchAll(/from '(\.[^']*)'/g)].map(([, path]) =>
    relative(SRC, join(SRC, dirname(name), path!)),
  );
  return imported.filter(other => layer(other) < 0 || layer(other) > layer(name));
}

test.each(files)('$name imports only what lies below', ({ name, text }) => {
  expect(layer(name)).toBeGreaterThanOrEqual(0);
  expect(wrongDirections(name, text)).toEqual([]);
});

test.each(files)('$name opens with its part in the whole', ({ text }) => {
  expect(text).toMatch(/^\/\*\*(\n \*)? \S.*[.:;,a-z]/);
});

test('protocol and identity know no clock, no chance and no world', () => {
  const pure = files.filter(({ name }) => /^(protocol|identity)\//.test(name));
  expect(pure.filter(({ text }) => IMPURE.test(code(text))).map(({ name }) => name)).toEqual([]);
  const random = pure.filter(({ text }) => /\b(crypto|randomSecretKey)\b\./.test(code(text)));
  for (const { name } of random) expect(RANDOM).toContain(name);
});

test('nothing but the noble family is needed at run time', () => {
  const packages = files.flatMap(({ text }) =>
    [...code(text).matchAll(/from '([^.'][^']*)'/g)].map(([, name]) => name!),
  );
  expect(packages.length).toBeGreaterThan(0);
  expect(packages.filter(name => !name.startsWith('@noble/'))).toEqual([]);
});

test('a planted trespass is seen', () => {
  expect(wrongDirections('protocol/ids.ts', "from '../client/clock.ts'")).not.toEqual([]);
  expect(wrongDirections('client/clock.ts', "from '../protocol/ids.ts'")).toEqual([]);
  expect(IMPURE.test(code('return Date.now();'))).toBe(true);
  expect(IMPURE.test(code('// Date.now\n/* fetch */'))).toBe(false);
});
