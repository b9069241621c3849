/** What happens to a page reaches its connection: sleep, waking, and the network. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Receiver } from '../src/client/receiver.ts';
import { only } from '../src/client/transports/connection.ts';
import { PrivateKey } from '../src/identity/keys.ts';
import { Mailbox } from './mailbox.ts';

let page: EventTarget;
let document: EventTarget & { visibilityState: string };
let mailbox: Mailbox;
let receiver: Receiver;

const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);

beforeEach(async () => {
  vi.useFakeTimers();
  page = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  vi.stubGlobal('document', document);
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  mailbox = new Mailbox();
  const options = { server: 'https://push.example', ways: only(mailbox.way), tabs: false };
  receiver = new Receiver(PrivateKey.generate(), options);
  receiver.listen(() => {});
  void receiver.start();
  await pass(1);
});
afterEach(async () => {
  const stopping = receiver.stop();
  await pass(20);
  await stopping;
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a page that is frozen gives its connection up, and has it again once it thaws', async () => {
  document.dispatchEvent(new Event('freeze'));
  await pass(1);
  expect(mailbox.open.size).toBe(0);
  expect(receiver.state.is).toBe('offline');
  document.dispatchEvent(new Event('resume'));
  await pass(1);
  expect(receiver.state.is).toBe('live');
});

test('a page that is kept for the back button gives it up, too', async () => {
  page.dispatchEvent(Object.assign(new Event('pagehide'), { persisted: true }));
  await pass(1);
  expect(mailbox.open.size).toBe(0);
  page.dispatchEvent(new Event('pageshow'));
  await pass(1);
  expect(receiver.state.is).toBe('live');
});

test('without a network it is offline at once, and back as soon as there is one', async () => {
  mailbox.refuses = 1006;
  page.dispatchEvent(new Event('offline'));
  expect(receiver.state.is).toBe('offline');
  await pass(120);
  mailbox.refuses = undefined;
  const tried = mailbox.connections;
  page.dispatchEvent(new Event('online'));
  await pass(0.001);
  expect(mailbox.connections).toBe(tried + 1);
  expect(receiver.state.is).toBe('live');
});

test('what the server asked to wait is waited, whatever the page does', async () => {
  mailbox.refuses = 1013;
  [...mailbox.open][0]!.end(1013);
  await pass(60);
  mailbox.refuses = undefined;
  const tried = mailbox.connections;
  document.dispatchEvent(new Event('visibilitychange'));
  await pass(0.001);
  expect(mailbox.connections).toBe(tried);
});

test('a connection that died while the machine slept is noticed when it wakes', async () => {
  mailbox.isSilent = true;
  document.dispatchEvent(new Event('visibilitychange'));
  await pass(9.9);
  expect(mailbox.connections).toBe(1);
  mailbox.isSilent = false;
  await pass(1);
  expect(mailbox.connections).toBe(2);
  expect(receiver.state.is).toBe('live');
});

test('one that was silent for long is given up, also when timers stood still', async () => {
  mailbox.isSilent = true;
  vi.setSystemTime(Date.now() + 3_600_000);
  document.dispatchEvent(new Event('visibilitychange'));
  mailbox.isSilent = false;
  await pass(1);
  expect(mailbox.connections).toBe(2);
  expect(receiver.state.is).toBe('live');
});

test('one that answers when the machine wakes is kept', async () => {
  document.dispatchEvent(new Event('visibilitychange'));
  await pass(30);
  expect(mailbox.connections).toBe(1);
});
