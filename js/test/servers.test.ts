/** Where an identity listens, before, while and after it changes its servers. */

import { beforeEach, expect, test } from 'vitest';
import { Client } from '../src/client/client.ts';
import { Servers } from '../src/client/servers.ts';
import type { State } from '../src/client/state.ts';
import { PrivateKey } from '../src/identity/keys.ts';

const [A, B, C] = ['https://a.example', 'https://b.example', 'https://c.example'] as const;
const MONTH = 30 * 86_400;

/** Runs until it is stopped, or sent away. */
class Running {
  empty = false;
  state = { is: 'live' } as State;
  listenersAreDone = Promise.resolve();

  async start(): Promise<undefined> {}
  pause(): void {}
  resume(): void {}

  async stop(): Promise<void> {
    await this.listenersAreDone;
    this.state = { is: 'closed' } as State;
  }
}

let now: number;
let made: [string, Running][];
let servers: Servers;

const listened = () => made.filter(([, { state }]) => state.is !== 'closed').map(([url]) => url);

beforeEach(() => {
  now = 1000;
  made = [];
  const make = (server: string) => {
    const running = new Running();
    made.push([server, running]);
    return running;
  };
  servers = new Servers(make, () => now);
});

test('to move back while servers are left is to stay', async () => {
  servers.begin([C], [], { [A]: now, [B]: now });
  now += MONTH;
  const leaving = made.find(([url]) => url === A)![1];
  let done = () => {};
  leaving.listenersAreDone = new Promise(resolve => (done = resolve));
  const left = servers.leave();
  servers.moveTo([A, B, C]);
  done();
  await left;
  expect(listened().sort()).toEqual([A, B, C]);
  expect(servers.left).toEqual({});
});

test('a client that stops while a server is left waits for that', async () => {
  servers.begin([B], [], { [A]: now });
  now += MONTH;
  const leaving = made.find(([url]) => url === A)![1];
  let done = () => {};
  leaving.listenersAreDone = new Promise(resolve => (done = resolve));
  void servers.leave();
  const stopped = servers.stop();
  done();
  await stopped;
  expect(listened()).toEqual([]);
});

test('a server that refused is tried again when it is chosen again', () => {
  servers.begin([A], [], {});
  made[0]![1].state = { is: 'closed' } as State;
  servers.moveTo([A]);
  expect(made.map(([url]) => url)).toEqual([A, A]);
});

test('nobody moves to no server', async () => {
  const options = { app: 'https://app.example', servers: [A], hub: 'https://hub.example' };
  const client = new Client(PrivateKey.generate(), options);
  await expect(client.moveTo([])).rejects.toMatchObject({ code: 'bad_request' });
  expect(client.servers).toEqual([A]);
});
