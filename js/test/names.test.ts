/** Who a name is, is found out once, believed for a while, and never put back. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Client } from '../src/client/client.ts';
import { PushdError, Unproven } from '../src/errors.ts';
import { CONTACT, makeContact } from '../src/identity/contact.ts';
import { sign } from '../src/identity/jws.ts';
import { address, PrivateKey } from '../src/identity/keys.ts';
import { blockstackNames } from '../src/resolvers/blockstack.ts';
import { Directory } from '../src/resolvers/directory.ts';
import { Fetcher } from '../src/resolvers/fetcher.ts';

const APP = 'https://app.example';
const NAME = 'alice.id.blockstack';
const owner = PrivateKey.generate();
const key = PrivateKey.generate();

let files: Record<string, string>;
let asked: string[];
let down: boolean;
let now: number;
let server: Server;
let base: string;
let directory: Directory;

/** Signs a profile that leads to Alice's bucket. */
function profile(at: number, signer = owner): string {
  const holder = { publicKey: signer.public.hex };
  const apps = { [APP]: `${base}/hub/${address(key.public.raw)}/` };
  const times = { iat: new Date(at * 1000).toISOString(), exp: at + 1e9 };
  const claims = { ...times, subject: holder, issuer: holder, claim: { apps } };
  return JSON.stringify([{ token: sign(signer, claims) }]);
}

beforeEach(async () => {
  asked = [];
  down = false;
  now = 1_800_000_000;
  server = createServer((request, response) => {
    asked.push(request.url!);
    const file = files[request.url!];
    response.statusCode = down ? 503 : file === undefined ? 404 : 200;
    response.end(file);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const bucket = `/hub/${address(key.public.raw)}/`;
  const zonefile = `_http._tcp IN URI 10 1 "${base}/profile.json"`;
  const record = { address: address(owner.public.raw), status: 'registered', zonefile };
  files = {
    [`/v1/names/${NAME}`]: JSON.stringify(record),
    '/profile.json': profile(now),
    [bucket + CONTACT]: makeContact(key, { servers: ['https://push.example'], app: APP, now }),
  };
  const fetcher = new Fetcher([base.slice('http://'.length)]);
  const sources = { 'Blockstack name': blockstackNames(`${base}/`, fetcher) };
  directory = new Directory(sources, fetcher, () => now);
});
afterEach(() => new Promise(resolve => server.close(resolve)));

describe('a directory', () => {
  test('goes from a name to a key and its servers', async () => {
    const reached = await directory.reach(NAME, APP);
    expect(reached.key?.hex).toBe(key.public.hex);
    expect(reached).toMatchObject({ did: key.did, servers: ['https://push.example'] });
  });

  test('asks once for all who ask at once, and again when it is time', async () => {
    await Promise.all([1, 2, 3].map(() => directory.identify(NAME, APP)));
    expect(asked.length).toBe(2);
    now += 599;
    await directory.identify(NAME, APP);
    expect(asked.length).toBe(2);
    now += 1;
    await directory.identify(NAME, APP);
    expect(asked.length).toBe(4);
  });

  test('goes on with what it knew while nobody answers, but not for ever', async () => {
    await directory.identify(NAME, APP);
    down = true;
    now += 3000;
    expect((await directory.identify(NAME, APP)).did).toBe(key.did);
    now += 600;
    await expect(directory.identify(NAME, APP)).rejects.toMatchObject({ status: 503 });
  });

  test('believes no profile of another, and none older than it saw', async () => {
    files['/profile.json'] = profile(now, PrivateKey.generate());
    await expect(directory.identify(NAME, APP)).rejects.toBeInstanceOf(Unproven);
    now += 60;
    files['/profile.json'] = profile(now);
    expect((await directory.identify(NAME, APP)).signedAt).toBe(now);
    files['/profile.json'] = profile(now - 1000);
    now += 600;
    expect((await directory.identify(NAME, APP)).signedAt).toBe(now - 600);
  });

  test('believes no contact document older than it saw', async () => {
    const place = `/hub/${address(key.public.raw)}/${CONTACT}`;
    const old = files[place]!;
    const servers = ['https://other.example'];
    files[place] = makeContact(key, { servers, app: APP, now: now + 1 });
    expect((await directory.reach(NAME, APP)).servers).toEqual(servers);
    files[place] = old;
    now += 700;
    expect((await directory.reach(NAME, APP)).servers).toEqual(servers);
  });

  test('asks anew for what was forgotten, though not at once', async () => {
    await directory.reach(NAME, APP);
    const before = asked.length;
    directory.forget(NAME, APP);
    await directory.reach(NAME, APP);
    expect(asked.length).toBe(before);
    now += 10;
    await directory.reach(NAME, APP);
    expect(asked.length).toBe(2 * before);
  });

  test('says which names are looked up nowhere', async () => {
    await expect(directory.identify('alice.btc', APP)).rejects.toThrow('No name of BNS V2');
    await expect(directory.identify('did:web:a.example', APP)).rejects.toThrow('No did:web');
    await expect(directory.identify('Alice', APP)).rejects.toBeInstanceOf(PushdError);
  });
});

test('a client looks up what an app brings a source for', async () => {
  const sources = () => ({ 'did:web': async () => ({ did: key.did }) });
  const { directory } = new Client(key, { app: APP, sources });
  expect((await directory.identify('did:web:a.example', APP)).did).toBe(key.did);
});

describe('the way out', () => {
  test.each([
    'http://gaia.example/',
    'https://127.0.0.1/',
    'https://2130706433/',
    'https://10.0.0.1/hub/',
    'https://127.0.0.1?https://gaia.example/',
    'https://[::1]/',
    'https://localhost/',
    'https://localhost./',
    'https://0x7f.1/',
    'https://0x7f000001/',
    'https://%6c%6f%63alhost/',
    'https://gaia.example@127.0.0.1/',
    'https://gaia.example\\@127.0.0.1/',
    'https://gaia.example:8443x/',
    'https://printer/',
    'https://router.local/',
    'ftp://gaia.example/',
    'gaia.example',
  ])('does not lead to %s', url => {
    expect(new Fetcher().allows(url)).toBe(false);
  });

  test('leads to the web, and to development hosts by whatever scheme', () => {
    const fetcher = new Fetcher(['127.0.0.1:8480', 'dev.local:80']);
    expect(fetcher.allows('https://gaia.example/hub/')).toBe(true);
    expect(fetcher.allows('https://Gaia.example:8443/hub/')).toBe(true);
    expect(fetcher.allows('https://gaia.example?x')).toBe(true);
    expect(fetcher.allows('http://127.0.0.1:8480/x')).toBe(true);
    expect(fetcher.allows('http://dev.local/x')).toBe(true);
    expect(fetcher.allows('http://127.0.0.1:8481/x')).toBe(false);
  });

  test('brings no more than was asked for', async () => {
    files['/long'] = 'x'.repeat(1001);
    const fetcher = new Fetcher([base.slice('http://'.length)]);
    expect((await fetcher.ask(`${base}/long`, {}, 1001)).body?.length).toBe(1001);
    expect((await fetcher.ask(`${base}/long`, {}, 1000)).body).toBeUndefined();
  });
});
