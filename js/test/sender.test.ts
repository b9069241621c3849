/** A delivery is tried until it is kept or refused for good, with the token the server wants. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Sender } from '../src/client/sender.ts';
import { PrivateKey } from '../src/identity/keys.ts';
import { digestOf } from '../src/identity/tokens.ts';
import type { Json } from './vectors/files.ts';

const key = PrivateKey.generate();
const bob = PrivateKey.generate().did;
const kept = { id: '7-1', mailbox: bob, duplicate: false };

/** A delivery as it was asked for, with the claims of its token. */
interface Asked {
  body: string;
  claims: Json;
}

/** What the server answers to a delivery: a status, and JSON. */
let answer: (asked: Asked) => [number, object];
let features: string[];
let asked: Asked[];
let server: Server;
let url: string;

const refused = (now = Date.now() / 1000): [number, object] => [401, { code: 'unauthorized', now }];

beforeEach(async () => {
  asked = [];
  features = ['batch', 'digest'];
  server = createServer(async (request, response) => {
    let body = '';
    for await (const piece of request) body += piece;
    let [status, said]: [number, object] = [200, { features }];
    if (request.url === '/v1/deliveries') {
      const [, claims = ''] = request.headers.authorization!.split('.');
      asked.push({ body, claims: JSON.parse(Buffer.from(claims, 'base64url').toString()) });
      [status, said] = answer(asked.at(-1)!);
    }
    response.writeHead(status).end(JSON.stringify(said));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => new Promise(resolve => server.close(resolve)));

const isNarrow = ({ body, claims }: Asked) => claims.digest === digestOf(body);

describe('a sender', () => {
  test('tries again, under the same key, what may not have arrived', async () => {
    answer = () => (asked.length < 3 ? [503, { code: 'overloaded' }] : [201, kept]);
    expect(await new Sender(key, { server: url }).send(bob, 'x')).toEqual(kept);
    expect(new Set(asked.map(({ body }) => JSON.parse(body).key)).size).toBe(1);
    expect(asked.map(({ claims }) => claims.digest)).toEqual([undefined, undefined, undefined]);
  });

  test('makes a token for each body where the server wants that, and then at once', async () => {
    features.push('digest-only');
    answer = one => (isNarrow(one) ? [201, kept] : refused());
    const sender = new Sender(key, { server: url });
    await sender.send(bob, 'x \u20ac');
    await sender.send(bob, 'y');
    expect(asked.map(isNarrow)).toEqual([false, true, true]);
    expect(new Set(asked.map(({ claims }) => claims.jti)).size).toBe(3);
    for (const { claims } of asked.slice(1)) expect(claims.exp - claims.iat).toBe(60);
  });

  test('takes the clock of the server as well, where both are wrong', async () => {
    features.push('digest-only');
    const ahead = Date.now() / 1000 + 1000;
    answer = one => (isNarrow(one) && one.claims.iat > ahead - 60 ? [201, kept] : refused(ahead));
    expect(await new Sender(key, { server: url }).send(bob, 'x')).toEqual(kept);
    expect(asked.map(isNarrow)).toEqual([false, false, true]);
  });

  test.each([
    [[], 1],
    [['digest-only'], 2],
  ])('narrows no token for nothing: %j', async (more, attempts) => {
    features.push(...more);
    answer = () => refused();
    const sending = new Sender(key, { server: url }).send(bob, 'x');
    await expect(sending).rejects.toMatchObject({ code: 'unauthorized' });
    expect(asked.length).toBe(attempts);
  });

  test('gives up on a server whose clock goes wild', async () => {
    answer = () => refused(1000 * asked.length);
    const sending = new Sender(key, { server: url }).send(bob, 'x');
    await expect(sending).rejects.toMatchObject({ code: 'unauthorized' });
    expect(asked.length).toBe(3);
  });
});
