/** A message is acked once listeners handled it, and comes again where nobody did. */

import { describe, expect, test, vi } from 'vitest';
import { NotHandled, NotYet, type Received } from '../src/client/listeners.ts';
import { Receiver, type ReceiverOptions } from '../src/client/receiver.ts';
import { MemoryStore } from '../src/client/store.ts';
import { only } from '../src/client/transports/connection.ts';
import { PushdError } from '../src/errors.ts';
import { PrivateKey } from '../src/identity/keys.ts';
import { Mailbox } from './mailbox.ts';

const key = PrivateKey.generate();
const server = 'https://push.example';

/** Makes a receiver that is connected to a mailbox. */
function receiverOf(mailbox: Mailbox, options: Partial<ReceiverOptions<unknown>> = {}) {
  return new Receiver(key, { server, tabs: false, ways: only(mailbox.way), ...options });
}

const until = (condition: () => boolean) =>
  vi.waitUntil(condition, { timeout: 10_000, interval: 5 });

describe('a receiver', () => {
  test.each([{ window: 0 }, { window: 1001 }, { window: 1.5 }, { device: '' }, { device: 'tv\n' }])(
    'refuses what no server takes: %j',
    options => {
      // Else it would be closed with 4400 and come back, again and again.
      expect(() => receiverOf(new Mailbox(), options)).toThrow(PushdError);
    },
  );

  test('connects once there is a listener, and acks what that handled', async () => {
    const mailbox = new Mailbox();
    mailbox.accept('one', 'two');
    const receiver = receiverOf(mailbox);
    void receiver.start();
    expect(mailbox.connections).toBe(0);
    const payloads: string[] = [];
    receiver.listen(message => payloads.push(message.payload));
    await until(() => mailbox.unread.size === 0);
    mailbox.accept('three');
    await until(() => mailbox.unread.size === 0);
    expect(payloads).toEqual(['one', 'two', 'three']);
    await receiver.stop();
    expect(mailbox.open.size).toBe(0);
  });

  test('calls those whose filter matches, one message after the other', async () => {
    const mailbox = new Mailbox();
    mailbox.accept('a1', 'b1', 'a2');
    const receiver = receiverOf(mailbox);
    const calls: string[] = [];
    for (const letter of ['a', 'b']) {
      receiver.listen(
        async message => {
          calls.push(`>${message.payload}`);
          await new Promise(resolve => setTimeout(resolve, 5));
          calls.push(`<${message.payload}`);
        },
        message => message.payload.startsWith(letter),
      );
    }
    void receiver.start();
    await until(() => mailbox.unread.size === 0);
    expect(calls).toEqual(['>a1', '<a1', '>b1', '<b1', '>a2', '<a2']);
    await receiver.stop();
  });

  test('leaves unread what a listener failed at, and says why', async () => {
    const mailbox = new Mailbox();
    mailbox.accept('bad', 'good');
    const receiver = receiverOf(mailbox);
    const errors: string[] = [];
    receiver.onError((error, message) => errors.push(`${message.payload}: ${error.message}`));
    receiver.listen(message => {
      if (message.payload === 'bad') throw new Error('Oh.');
    });
    void receiver.start();
    await until(() => mailbox.unread.size === 1 && errors.length > 0);
    expect([...mailbox.unread.values()]).toEqual(['bad']);
    expect(errors).toEqual(['bad: Oh.']);
    await receiver.stop();
  });

  test('sends nobody away: a later listener gets what was not wanted before', async () => {
    const mailbox = new Mailbox();
    mailbox.accept('for later');
    const receiver = receiverOf(mailbox);
    receiver.listen(() => {
      throw new NotHandled();
    });
    receiver.listen(() => {}, () => false);
    void receiver.start();
    await until(() => receiver.state.is === 'live');
    const payloads: string[] = [];
    await new Promise(resolve => setTimeout(resolve, 50));
    receiver.listen(message => payloads.push(message.payload));
    await until(() => mailbox.unread.size === 0);
    expect(payloads).toEqual(['for later']);
    expect(mailbox.connections).toBe(2);
    await receiver.stop();
  });

  test('acks when the app says so, where that is wanted', async () => {
    const mailbox = new Mailbox();
    mailbox.accept('one', 'two');
    const receiver = receiverOf(mailbox, { ack: 'manual' });
    const kept: Received[] = [];
    receiver.listen(message => kept.push(message));
    void receiver.start();
    await until(() => kept.length === 2);
    kept[1]!.ack();
    await until(() => mailbox.unread.size === 1);
    expect(mailbox.heard.filter(frame => frame.type === 'ack')).toMatchObject([{ ids: ['7-2'] }]);
    kept[0]!.ack();
    await until(() => mailbox.unread.size === 0);
    await receiver.stop();
  });

  test('opens ahead, keeps the order, and tries again what cannot be opened yet', async () => {
    const mailbox = new Mailbox();
    mailbox.accept('slow', 'quick', 'later');
    const tries = new Map<string, number>();
    const open = async ({ payload }: Received) => {
      tries.set(payload, (tries.get(payload) ?? 0) + 1);
      if (payload === 'slow') await new Promise(resolve => setTimeout(resolve, 20));
      if (payload === 'later' && tries.get(payload) === 1) throw new NotYet(0.05);
      return payload.toUpperCase();
    };
    const receiver = receiverOf(mailbox, { open });
    const contents: unknown[] = [];
    receiver.listen(message => contents.push(message.content));
    void receiver.start();
    await until(() => mailbox.unread.size === 0);
    expect(contents).toEqual(['SLOW', 'QUICK', 'LATER']);
    await receiver.stop();
  });

  test('goes on after a reload where it was, and is not told twice', async () => {
    const mailbox = new Mailbox();
    const store = new MemoryStore();
    mailbox.accept('one');
    const payloads: string[] = [];
    const first = receiverOf(mailbox, { store });
    first.listen(message => payloads.push(message.payload));
    void first.start();
    await until(() => mailbox.unread.size === 0);
    await first.stop();
    mailbox.accept('two');
    const second = receiverOf(mailbox, { store });
    second.listen(message => payloads.push(message.payload));
    void second.start();
    await until(() => mailbox.unread.size === 0);
    expect(payloads).toEqual(['one', 'two']);
    expect(mailbox.heard.filter(frame => frame.type === 'hello').at(-1)?.after).toBe('7-1');
    await second.stop();
  });

  test('shows how it stands: catching up with progress, live, offline, live again', async () => {
    const mailbox = new Mailbox();
    mailbox.accept('one', 'two');
    const receiver = receiverOf(mailbox);
    const states: string[] = [];
    receiver.onState(({ is, received, unread }) => states.push(`${is} ${received}/${unread}`));
    receiver.listen(() => {});
    void receiver.start();
    await until(() => receiver.state.is === 'live');
    expect(states).toEqual([
      'connecting 0/0',
      'catching up 0/2',
      'catching up 1/2',
      'catching up 2/2',
      'live 2/2',
    ]);
    [...mailbox.open][0]!.end(1006);
    expect(receiver.state.is).toBe('offline');
    await until(() => receiver.state.is === 'live');
    await receiver.stop();
    expect(receiver.state.is).toBe('closed');
  });

  test('stays away when the server sends it away, and says why', async () => {
    const mailbox = new Mailbox();
    mailbox.refuses = 4403;
    const receiver = receiverOf(mailbox);
    receiver.listen(() => {});
    expect(await receiver.start()).toMatchObject({ code: 4403 });
    expect(receiver.state).toMatchObject({ is: 'closed', code: 4403 });
    expect(mailbox.connections).toBe(1);
  });

  test('rests while it is paused, and is back at once', async () => {
    const mailbox = new Mailbox();
    const receiver = receiverOf(mailbox);
    const payloads: string[] = [];
    receiver.listen(message => payloads.push(message.payload));
    void receiver.start();
    await until(() => receiver.state.is === 'live');
    receiver.pause();
    expect(receiver.state).toMatchObject({ is: 'offline', reason: 'Paused.' });
    await until(() => mailbox.open.size === 0);
    mailbox.accept('meanwhile');
    receiver.resume();
    await until(() => mailbox.unread.size === 0);
    expect(payloads).toEqual(['meanwhile']);
    await receiver.stop();
  });

  test('shows frames both ways, and no token', async () => {
    const mailbox = new Mailbox();
    const receiver = receiverOf(mailbox);
    const frames: string[] = [];
    receiver.onFrame((direction, json) => frames.push(`${direction} ${json}`));
    receiver.listen(() => {});
    void receiver.start();
    await until(() => receiver.state.is === 'live');
    expect(frames[0]).toBe('out {"type":"hello","token":"…"}');
    expect(frames[1]).toMatch(/^in \{"type":"welcome"/);
    await receiver.stop();
  });
});
