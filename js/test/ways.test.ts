/** Where no websocket can be had it goes on by other means, and comes back from them. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Receiver } from '../src/client/receiver.ts';
import { MemoryStore } from '../src/client/store.ts';
import { Choice, waysOf } from '../src/client/transports/ways.ts';
import { PrivateKey } from '../src/identity/keys.ts';
import { Mailbox } from './mailbox.ts';

let blocked: Mailbox;
let mailbox: Mailbox;
let choice: Choice;
let receiver: Receiver;
let answer: () => Promise<Response>;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('fetch', () => answer());
  answer = async () => new Response('{}');
  blocked = new Mailbox();
  blocked.refuses = 1006;
  mailbox = new Mailbox();
  choice = new Choice([
    blocked.way,
    { ...mailbox.way, name: 'events' },
    { ...mailbox.way, name: 'polling' },
  ]);
  const options = { server: 'https://push.example', store: new MemoryStore(), ways: choice };
  receiver = new Receiver(PrivateKey.generate(), { ...options, tabs: false });
  receiver.listen(() => {});
  void receiver.start();
});
afterEach(async () => {
  const stopping = receiver.stop();
  await vi.advanceTimersByTimeAsync(20_000);
  await stopping;
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);

describe('the way', () => {
  test('is the next one where the first leads nowhere though the server answers', async () => {
    await pass(60);
    expect(receiver.state).toMatchObject({ is: 'live', way: 'events' });
    expect(blocked.connections).toBeLessThan(4);
  });

  test('stays the first while the server is away', async () => {
    answer = async () => Promise.reject(new TypeError('No network.'));
    await pass(60);
    expect(blocked.connections).toBeGreaterThan(4);
    expect(mailbox.connections).toBe(0);
    expect(choice.way.name).toBe('websocket');
  });

  test('stays the first where the server was away until a moment ago', async () => {
    blocked.refuses = undefined;
    await pass(5);
    expect(receiver.state).toMatchObject({ is: 'live', way: 'websocket' });
    blocked.refuses = 1006;
    answer = async () => {
      blocked.refuses = undefined;
      return new Response('{}');
    };
    [...blocked.open][0]!.end(1006);
    await pass(60);
    expect(receiver.state).toMatchObject({ is: 'live', way: 'websocket' });
    expect([blocked.connections, mailbox.connections]).toEqual([3, 0]);
  });

  test('is the one that is taken, also where it is known late that the server answers', async () => {
    let isAsked = false;
    answer = async () => {
      isAsked = true;
      blocked.refuses = undefined;
      await new Promise(resolve => setTimeout(resolve, 4000));
      return new Response('{}');
    };
    await pass(60);
    expect(isAsked).toBe(true);
    expect(receiver.state).toMatchObject({ is: 'live', way: 'websocket' });
    expect(choice.way.name).toBe('websocket');
  });

  test('is the first again when a lesser one is over', async () => {
    await pass(60);
    const tried = blocked.connections;
    blocked.refuses = undefined;
    [...mailbox.open][0]!.end(1006);
    await pass(60);
    expect(blocked.connections).toBe(tried + 1);
    expect(receiver.state).toMatchObject({ is: 'live', way: 'websocket' });
  });

  test('is the first again after some minutes, and less and less often', async () => {
    await pass(60);
    const tried = blocked.connections;
    await pass(330);
    expect(blocked.connections).toBeGreaterThan(tried);
    expect(receiver.state).toMatchObject({ is: 'live', way: 'events' });
    const again = blocked.connections;
    await pass(330);
    expect(blocked.connections).toBe(again);
    blocked.refuses = undefined;
    await pass(330);
    expect(receiver.state).toMatchObject({ is: 'live', way: 'websocket' });
  });

  test('stays the same where the server says why it closes', async () => {
    await pass(60);
    const tried = blocked.connections;
    [...mailbox.open][0]!.end(1012);
    await pass(60);
    expect(blocked.connections).toBe(tried);
    expect(receiver.state).toMatchObject({ is: 'live', way: 'events' });
  });

  test('may be told', () => {
    expect(waysOf({ way: 'polling' }).way.name).toBe('polling');
    expect(waysOf({ webSocket: undefined }).way.name).toBe('events');
  });
});
