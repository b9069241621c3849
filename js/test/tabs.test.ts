/** Of several tabs one has the connection; all see every message, and one takes over. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Receiver, type ReceiverOptions } from '../src/client/receiver.ts';
import { MemoryStore } from '../src/client/store.ts';
import { only } from '../src/client/transports/connection.ts';
import { PrivateKey } from '../src/identity/keys.ts';
import { Mailbox } from './mailbox.ts';

/** The Web Locks of a browser, as far as tabs need them; Node 20 has none. */
class Locks {
  readonly #turns = new Map<string, Promise<unknown>>();

  request(name: string, ...rest: unknown[]): Promise<unknown> {
    const work = rest.at(-1) as () => unknown;
    const { signal } = (rest.length > 1 ? rest[0] : {}) as { signal?: AbortSignal };
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(() => {
      signal?.throwIfAborted(); // given up while it waited
      return work();
    });
    this.#turns.set(
      name,
      turn.catch(() => {}),
    );
    return turn;
  }
}

let key: PrivateKey;
let mailbox: Mailbox;
let store: MemoryStore;
const open: Receiver[] = [];

beforeEach(() => {
  vi.stubGlobal('navigator', { locks: new Locks() });
  key = PrivateKey.generate();
  mailbox = new Mailbox();
  store = new MemoryStore();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map(tab => tab.stop()));
  vi.unstubAllGlobals();
});

/** Opens a tab that listens, and keeps the payloads it was shown. */
function tab(wanted = (_: string) => true, options: Partial<ReceiverOptions<unknown>> = {}) {
  const server = 'https://push.example';
  const receiver = new Receiver(key, { server, store, ways: only(mailbox.way), ...options });
  const payloads: string[] = [];
  receiver.listen(
    message => payloads.push(message.payload),
    message => wanted(message.payload),
  );
  void receiver.start();
  open.push(receiver);
  return { receiver, payloads };
}

const until = (condition: () => boolean) =>
  vi.waitUntil(condition, { timeout: 10_000, interval: 5 });

describe('tabs', () => {
  test('share one connection, and each is shown every message', async () => {
    const [one, other] = [tab(), tab()];
    await until(() => other.receiver.state.is === 'live');
    expect(one.receiver.state.leader).toBe(true);
    expect(other.receiver.state.leader).toBe(false);
    mailbox.accept('hello');
    await until(() => one.payloads.length + other.payloads.length === 2);
    await until(() => mailbox.unread.size === 0);
    expect(mailbox.connections).toBe(1);
  });

  test('go on when the one that led is gone', async () => {
    const [one, other] = [tab(), tab()];
    await until(() => other.receiver.state.is === 'live');
    mailbox.accept('first');
    await until(() => other.payloads.length === 1 && mailbox.unread.size === 0);
    await one.receiver.stop();
    mailbox.accept('second');
    await until(() => other.payloads.length === 2 && mailbox.unread.size === 0);
    expect(other.receiver.state).toMatchObject({ is: 'live', leader: true });
    expect(other.payloads).toEqual(['first', 'second']);
    expect(mailbox.connections).toBe(2);
  });

  test('go on in another when the one that led rests', async () => {
    const [one, other] = [tab(), tab()];
    await until(() => other.receiver.state.is === 'live');
    one.receiver.pause();
    await until(() => other.receiver.state.leader);
    mailbox.accept('hello');
    await until(() => mailbox.unread.size === 0);
    expect([one.payloads, other.payloads]).toEqual([[], ['hello']]);
    one.receiver.resume();
    await until(() => one.receiver.state.is === 'live');
    expect(one.receiver.state.leader).toBe(false);
  });

  test('ack what any of them handled, also where the leader declines it', async () => {
    const one = tab(payload => payload === 'for one');
    const other = tab(payload => payload === 'for the other');
    await until(() => other.receiver.state.is === 'live');
    mailbox.accept('for the other', 'for one');
    await until(() => mailbox.unread.size === 0);
    expect([one.payloads, other.payloads]).toEqual([['for one'], ['for the other']]);
  });

  test('show each other what was opened, as plain data', async () => {
    const opened: string[] = [];
    const options = {
      open: ({ payload }: { payload: string }) => {
        opened.push(payload);
        return { text: payload.toUpperCase() };
      },
    };
    const [, other] = [tab(undefined, options), tab(undefined, options)];
    const contents: unknown[] = [];
    other.receiver.listen(message => contents.push(message.content));
    await until(() => other.receiver.state.is === 'live');
    mailbox.accept('hello');
    await until(() => contents.length === 1);
    expect(contents).toEqual([{ text: 'HELLO' }]);
    expect(opened).toEqual(['hello']);
  });

  test('are all sent away together', async () => {
    const [one, other] = [tab(), tab()];
    await until(() => other.receiver.state.is === 'live');
    [...mailbox.open][0]!.end(4409);
    await until(() => other.receiver.state.is === 'closed');
    expect(one.receiver.state).toMatchObject({ is: 'closed', code: 4409 });
    expect(other.receiver.state).toMatchObject({ is: 'closed', code: 4409 });
    expect(mailbox.connections).toBe(1);
  });
});
