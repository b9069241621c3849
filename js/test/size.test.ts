/** What a page has to load, crypto included, stays small. */

import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const KIB = 1024;

/** Returns the bytes of what an app that imports this has to load, minified and packed. */
async function sizeOf(contents: string): Promise<number> {
  const resolveDir = new URL('../src', import.meta.url).pathname;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir, loader: 'ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'none',
    write: false,
  });
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
}

test('the parts that listen and deliver, sealed, fit in 25 KiB', async () => {
  const size = await sizeOf(`
    export { PrivateKey, PublicKey } from './index.ts';
    export { openSealed, Receiver, seal, Sender } from './parts.ts';
  `);
  expect(size).toBeLessThanOrEqual(25 * KIB);
});

test('all of it fits in 38 KiB: names, buckets, the queue and the fallbacks too', async () => {
  expect(await sizeOf(`export * from './index.ts'`)).toBeLessThanOrEqual(38 * KIB);
});
