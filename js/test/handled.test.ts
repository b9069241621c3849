/** Each message is handled once, and what was left unread is not held on to. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test, vi } from 'vitest';
import { Handled } from '../src/client/handled.ts';
import { Duplicate, NotYet, Received } from '../src/client/listeners.ts';
import { MessageId } from '../src/protocol/ids.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const nobody = { handled() {}, held() {}, failed() {} };

/** Makes a copy of the same message, as a server brings it. */
function copy(): Received<never> {
  const message = { id: '7-1', from: { did: 'did' }, payload: 'sealed', at: 1, expires: 2 };
  return new Received<never>(MessageId.parse('7-1'), message, nobody, 'https://push.example');
}

test('a copy waits for the first, and counts where that was left unread', () => {
  const handled = new Handled();
  const first = copy();
  const second = copy();
  handled.enter(first, 'id');
  expect(() => handled.enter(second, 'id')).toThrow(NotYet);
  first.leave();
  handled.enter(second, 'id');
  first.leave(); // as it may be once more, when other tabs had their time
  expect(() => handled.enter(copy(), 'id')).toThrow(NotYet);
  second.ack();
  expect(() => handled.enter(copy(), 'id')).toThrow(Duplicate);
});

test('what was left unread is forgotten: a stranger may send much that nobody opens', async () => {
  const handled = new Handled();
  const left = new WeakRef(
    (() => {
      const message = copy();
      handled.enter(message, 'id');
      message.leave();
      return message;
    })(),
  );
  await vi.waitUntil(
    () => {
      collect();
      return left.deref() === undefined;
    },
    { timeout: 10_000 },
  );
  expect(handled.marks).toEqual([]);
});
