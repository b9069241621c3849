/** Replays lookups.json: who a name is, by what a DID document or a zone file tells. */

import { afterEach, describe, expect, test, vi } from 'vitest';
import { Unproven } from '../../src/errors.ts';
import { bnsNames } from '../../src/resolvers/bns.ts';
import { Directory, type Identity } from '../../src/resolvers/directory.ts';
import { Fetcher } from '../../src/resolvers/fetcher.ts';
import { webNames } from '../../src/resolvers/web.ts';
import { cases, type Json, load } from './files.ts';

const { bns_api, valid, invalid } = load('lookups.json');

/** Finds out who the name of a case is. */
function identify({ name, files }: Json): Promise<Identity> {
  vi.stubGlobal('fetch', async (url: string) => {
    return new Response(files[url], { status: url in files ? 200 : 404 });
  });
  const fetcher = new Fetcher();
  const sources = { 'did:web': webNames(fetcher), 'name of BNS V2': bnsNames(bns_api, fetcher) };
  return new Directory(sources, fetcher, () => 0).identify(name, 'https://app.example');
}

afterEach(() => vi.unstubAllGlobals());

describe('lookups.json', () => {
  test.each(cases(valid))('the files tell who it is: %s', async (_, one) => {
    const { did, key, bucket = null, servers } = await identify(one);
    expect({ did, publicKey: key?.hex, bucket, servers }).toEqual(one.identity);
  });

  test.each(cases(invalid))('the files prove nothing: %s', async (_, one) => {
    await expect(identify(one)).rejects.toBeInstanceOf(Unproven);
  });
});
