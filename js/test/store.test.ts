/** What is kept survives a reload, in the best place there is. */

import 'fake-indexeddb/auto';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  IndexedDbStore,
  LocalStorageStore,
  MemoryStore,
  openStore,
  type Store,
} from '../src/client/store.ts';

/** Gives the page a localStorage, as browsers do and Node does not. */
function giveLocalStorage(): void {
  const kept = new Map<string, string>();
  vi.stubGlobal('localStorage', {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => kept.set(name, value),
    removeItem: (name: string) => kept.delete(name),
  });
}

afterEach(() => vi.unstubAllGlobals());

const makers: [string, () => Store][] = [
  ['IndexedDB', () => new IndexedDbStore()],
  ['localStorage', () => new LocalStorageStore()],
  ['memory', () => new MemoryStore()],
];

describe.each(makers)('%s', (_, make) => {
  test('gives back what was set last, and nothing once it was removed', async () => {
    giveLocalStorage();
    const store = make();
    expect(await store.get('cursor')).toBeUndefined();
    await store.set('cursor', { acks: ['7-1'] });
    await store.set('cursor', { acks: ['7-2'] });
    expect(await store.get('cursor')).toEqual({ acks: ['7-2'] });
    await store.set('cursor', undefined);
    expect(await store.get('cursor')).toBeUndefined();
  });

  test('keeps a value as it was when it was set', async () => {
    giveLocalStorage();
    const store = make();
    const value = { acks: ['7-1'] };
    await store.set('value', value);
    value.acks.push('7-2');
    expect(await store.get('value')).toEqual({ acks: ['7-1'] });
  });
});

test.each(makers.slice(0, 2))('%s survives a reload', async (_, make) => {
  giveLocalStorage();
  await make().set('reloaded', 'text');
  expect(await make().get('reloaded')).toBe('text');
});

test('IndexedDB is the best place, then localStorage, then memory', async () => {
  giveLocalStorage();
  expect(await openStore()).toBeInstanceOf(IndexedDbStore);
  vi.stubGlobal('indexedDB', undefined);
  expect(await openStore()).toBeInstanceOf(LocalStorageStore);
  vi.stubGlobal('localStorage', undefined);
  expect(await openStore()).toBeInstanceOf(MemoryStore);
});
