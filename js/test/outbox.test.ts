/** A message goes to the first of its recipient's servers that does not pass it over. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Bucket } from '../src/client/gaia.ts';
import { Outbox } from '../src/client/outbox.ts';
import { unixSeconds } from '../src/client/clock.ts';
import { address, PrivateKey } from '../src/identity/keys.ts';
import type { Directory } from '../src/resolvers/directory.ts';
import { Fetcher } from '../src/resolvers/fetcher.ts';

const alice = PrivateKey.generate();
const bob = PrivateKey.generate();
const NAME = 'bob.id.blockstack';
const open: Server[] = [];
let posted: number[];
let lookedUp: number;

beforeEach(() => {
  posted = [];
  lookedUp = 0;
});
afterEach(async () => {
  for (const server of open.splice(0)) await new Promise(resolve => server.close(resolve));
});

/** Serves deliveries, all with one answer; returns where. */
async function serve(status: number, answer: unknown): Promise<string> {
  const place = open.length;
  const server = createServer((_, response) => {
    posted.push(place);
    response.statusCode = status;
    response.end(JSON.stringify(answer));
  });
  open.push(server);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a server that still knows nobody by the name does not keep the next from it', async () => {
  const first = await serve(404, { code: 'unknown_mailbox' });
  const second = await serve(202, { id: '7-1', mailbox: bob.did, duplicate: false });
  const reach = async () => {
    lookedUp += 1;
    return { did: bob.did, key: bob.public, servers: [first, second] };
  };
  const url = `https://gaia.example/hub/${address(alice.public.raw)}/`;
  const outbox = new Outbox(alice, {
    app: 'https://app.example',
    bucket: { url: async () => url, store: async () => {} } as unknown as Bucket,
    directory: { reach, forget() {} } as unknown as Directory,
    fetcher: new Fetcher([first, second].map(server => new URL(server).host)),
    name: undefined,
    servers: () => [],
    giveUpAfter: 30,
    clock: unixSeconds,
  });
  const draft = { id: 'an-id-of-a-message', to: NAME, content: 'Hello Bob', at: 1000 };
  const sent = await outbox.send(draft, async () => {});
  expect(sent.server).toBe(second);
  expect(posted).toEqual([0, 0, 1]);
  expect(lookedUp).toBe(2);
});
