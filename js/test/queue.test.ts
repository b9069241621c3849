/** What waits to be sent is sent once, in order, by this page or the next. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { GaiaError, PushdError, Unreachable } from '../src/errors.ts';
import type { Draft, Sent } from '../src/client/outbox.ts';
import { Queue } from '../src/client/queue.ts';
import { MemoryStore } from '../src/client/store.ts';

let online: boolean;
let now: number;
let store: MemoryStore;
let tried: string[];

const draft = (id: string, to = 'bob.id'): Draft => ({ id, to, content: id, at: now });
const failures: Record<string, Error> = {};

/** Makes the queue of a page; what an earlier one left is in the store. */
function page(): Queue {
  const send = async (draft: Draft, keep: (draft: Draft) => Promise<void>): Promise<Sent> => {
    tried.push(draft.id);
    draft.parcel ??= { id: draft.id, did: 'did', payload: `sealed ${tried.length}` };
    await keep(draft);
    if (failures[draft.id]) throw failures[draft.id];
    if (!online) throw new Unreachable('Nobody answers.');
    const accepted = { id: '7-1', mailbox: 'did', duplicate: false };
    return { id: draft.id, did: 'did', server: draft.parcel.payload, accepted };
  };
  const queue = new Queue({ identity: 'me', store, clock: () => now, tabs: false, send });
  queue.start();
  return queue;
}

beforeEach(() => {
  vi.useFakeTimers();
  online = true;
  now = 1000;
  store = new MemoryStore();
  tried = [];
  for (const id of Object.keys(failures)) delete failures[id];
});
afterEach(() => vi.useRealTimers());

describe('a queue', () => {
  test('sends at once what can be sent', async () => {
    const queue = page();
    expect((await queue.add(draft('a'))).id).toBe('a');
    expect(await queue.drafts()).toEqual([]);
  });

  test('keeps what cannot be sent, and tries again until it can', async () => {
    online = false;
    const queue = page();
    const sending = queue.add(draft('a'));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(tried.length).toBeGreaterThan(2);
    online = true;
    await vi.advanceTimersByTimeAsync(60_000);
    expect((await sending).id).toBe('a');
  });

  test('tries at once when the network is back', async () => {
    online = false;
    const queue = page();
    const sending = queue.add(draft('a'));
    await vi.advanceTimersByTimeAsync(120_000);
    const before = tried.length;
    online = true;
    queue.hurry();
    await vi.advanceTimersByTimeAsync(0);
    await sending;
    expect(tried.length).toBe(before + 1);
  });

  test('goes on after a reload, with what was sealed before', async () => {
    online = false;
    const first = page();
    void first.add(draft('a'));
    await vi.advanceTimersByTimeAsync(0);
    first.stop();
    online = true;
    const second = page();
    const sent: Sent[] = [];
    second.sent.add(one => sent.push(one));
    await vi.advanceTimersByTimeAsync(0);
    expect(sent.map(one => [one.id, one.server])).toEqual([['a', 'sealed 1']]);
    expect(await second.drafts()).toEqual([]);
  });

  test('takes an ID that waits already for the message that has it', async () => {
    online = false;
    const queue = page();
    const both = [queue.add(draft('a')), queue.add({ ...draft('a'), content: 'other' })];
    await vi.advanceTimersByTimeAsync(100);
    online = true;
    queue.hurry();
    await vi.advanceTimersByTimeAsync(0);
    expect((await Promise.all(both)).map(one => one.server)).toEqual(['sealed 1', 'sealed 1']);
  });

  test('keeps what an earlier page sealed of it, where its ID comes again', async () => {
    online = false;
    const first = page();
    void first.add(draft('a'));
    await vi.advanceTimersByTimeAsync(0);
    first.stop();
    const second = page();
    const sending = second.add(draft('a'));
    await vi.advanceTimersByTimeAsync(100);
    online = true;
    second.hurry();
    await vi.advanceTimersByTimeAsync(0);
    expect((await sending).server).toBe('sealed 1');
  });

  test('keeps the order of those to one recipient', async () => {
    online = false;
    const queue = page();
    for (const id of ['a', 'b', 'c']) void queue.add(draft(id));
    await vi.advanceTimersByTimeAsync(100);
    expect(new Set(tried)).toEqual(new Set(['a']));
    online = true;
    tried = [];
    await vi.advanceTimersByTimeAsync(60_000);
    expect(tried).toEqual(['a', 'b', 'c']);
  });

  test('lets no recipient wait for another', async () => {
    failures['a'] = new Unreachable('Away.');
    const queue = page();
    void queue.add(draft('a', 'bob.id'));
    expect((await queue.add(draft('b', 'carol.id'))).id).toBe('b');
  });

  test('gives up what is refused, and says why, here and to whoever asks', async () => {
    failures['a'] = new PushdError('forbidden', 'Not to her.');
    const queue = page();
    const unsent: unknown[] = [];
    queue.unsent.add((one, error) => unsent.push([one.id, error.message]));
    await expect(queue.add(draft('a'))).rejects.toMatchObject({ code: 'forbidden' });
    expect(unsent).toEqual([['a', 'Not to her.']]);
    expect(await queue.drafts()).toEqual([]);
  });

  test.each([
    ['a busy server', new PushdError('overloaded'), true],
    ['a limit', new PushdError('rate_limited'), true],
    ['a name that cannot be looked up', new PushdError('resolver_unavailable'), true],
    ['a hub that does not answer', new GaiaError('Away.'), true],
    ['a busy hub', new GaiaError('Busy.', 503), true],
    ['a hub that refuses', new GaiaError('No.', 401), false],
    ['a full mailbox', new PushdError('mailbox_full'), false],
    ['a mistake of the app', new TypeError('Oh.'), false],
  ])('knows whether %s passes by itself', async (_, failure, passes) => {
    failures['a'] = failure;
    const queue = page();
    const outcome = queue.add(draft('a')).catch(error => error);
    await vi.advanceTimersByTimeAsync(100);
    expect((await queue.drafts()).length).toBe(passes ? 1 : 0);
    if (!passes) expect(await outcome).toBe(failure);
  });

  test('says that it was sent, also where the store then fails', async () => {
    const queue = page();
    queue.sent.add(() => (store.set = set));
    const set = store.set;
    store.set = async (name, value) => {
      if (tried.length && name === 'queue me') throw new Error('The disk is full.');
      return set.call(store, name, value);
    };
    const unsent: string[] = [];
    queue.unsent.add(one => unsent.push(one.id));
    expect((await queue.add(draft('a'))).id).toBe('a');
    expect(unsent).toEqual([]);
    // It is still kept, so a later page sends it again: the same delivery.
    const later = page();
    const sent: Sent[] = [];
    later.sent.add(one => sent.push(one));
    await vi.advanceTimersByTimeAsync(100);
    expect(sent.map(one => [one.id, one.server])).toEqual([['a', 'sealed 1']]);
  });

  test('goes on where the store failed, once it can be read again', async () => {
    const get = store.get;
    const queue = page();
    let asked = 0;
    store.get = async name => {
      if (name !== 'queue me' || asked++ !== 1) return get.call(store, name);
      throw new Error('The disk is away.');
    };
    const sending = queue.add(draft('a'));
    await vi.advanceTimersByTimeAsync(60_000);
    expect((await sending).id).toBe('a');
  });

  test('gives up before servers forget the key', async () => {
    online = false;
    const queue = page();
    const outcome = queue.add(draft('a')).catch(error => error);
    await vi.advanceTimersByTimeAsync(100);
    now += 6 * 86_400;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await outcome).toBeInstanceOf(Unreachable);
    expect(await queue.drafts()).toEqual([]);
  });

  test('sends nothing while it is paused', async () => {
    const queue = page();
    queue.pause();
    const sending = queue.add(draft('a'));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(tried).toEqual([]);
    queue.start();
    expect((await sending).id).toBe('a');
  });
});
