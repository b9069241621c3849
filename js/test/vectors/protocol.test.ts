/** Replays ids.json, urls.json and frames.json: what is said on the wire. */

import { describe, expect, test } from 'vitest';
import { Cursor, MessageId } from '../../src/protocol/ids.ts';
import {
  type ClientFrame,
  decodeServerFrame,
  message,
  type Ref,
} from '../../src/protocol/messages.ts';
import { canonicalUrl } from '../../src/protocol/urls.ts';
import { cases, load, refusal } from './files.ts';

describe('ids.json', () => {
  const { ids, cursors, continuity } = load('ids.json');

  test.each(cases(ids.valid))('the id %s is read as two numbers', (_, one) => {
    const id = MessageId.parse(one.id);
    expect(id).toEqual(new MessageId(one.epoch, one.seq));
    expect(`${id}`).toBe(one.id);
  });

  test.each(cases(ids.invalid))('no id: %s', (_, one) => {
    expect(refusal(() => MessageId.parse(one.text))).toBe(one.error);
  });

  test.each(cases(cursors.valid))('the cursor %s is written in its shorter form', (_, one) => {
    const cursor = Cursor.parse(one.id);
    expect(cursor.id).toEqual(new MessageId(one.after.epoch, one.after.seq));
    expect(cursor.epoch).toBe(one.epoch);
    expect(`${cursor}`).toBe(one.canonical);
  });

  test.each(cases(cursors.invalid))('no cursor: %s', (_, one) => {
    expect(refusal(() => Cursor.parse(one.text))).toBe(one.error);
  });

  test.each(cases(continuity))('continuity: %s', (_, one) => {
    const tail = MessageId.parse(one.tail);
    const continues = one.cursor !== null && Cursor.parse(one.cursor).continues(tail);
    expect(continues ? 'exact' : 'replay').toBe(one.continuity);
  });
});

describe('urls.json', () => {
  const { canonical, invalid } = load('urls.json');

  test.each(cases(canonical))('every spelling leads to one: %s', (_, one) => {
    expect(canonicalUrl(one.url)).toBe(one.canonical);
    expect(canonicalUrl(one.canonical)).toBe(one.canonical);
  });

  test.each(cases(invalid))("no server's URL: %s", (_, one) => {
    expect(refusal(() => canonicalUrl(one.url))).toBe(one.error);
  });
});

describe('frames.json', () => {
  const { client, server } = load('frames.json');
  const E = 1795348800000000;
  const token = 'header.claims.signature';
  const to = 'did:btc-addr:1AKmRxqccmdAnw4wmXJdiq66xDmsVjT9Bz';
  const payload = '{"iv":"00"}';
  const FRAMES: Record<string, ClientFrame> = {
    hello: { type: 'hello', token },
    'hello-with-the-token-of-the-upgrade': { type: 'hello' },
    'hello-of-a-known-device': {
      type: 'hello',
      token,
      after: `${E - 9}-7@${E}`,
      window: 10,
      device: 'phone',
      holding: [`${E}-1`],
    },
    'ack-of-ids': { type: 'ack', ids: [`${E}-1`, `${E}-3`] },
    'ack-up-to-an-id': { type: 'ack', upto: `${E}-3` },
    'ack-with-a-ref': { type: 'ack', upto: `${E}-3`, ref: 'a' },
    'ack-with-a-number-as-ref': { type: 'ack', ids: [`${E}-1`], ref: 7 },
    seen: { type: 'seen', upto: `${E}-3` },
    deliver: { type: 'deliver', to, payload, ref: 1 },
    'deliver-in-full': {
      type: 'deliver',
      to,
      payload: '\u20ac \u{1f511} "\\\n',
      ref: 'b',
      key: 'k',
      ttl: 60,
      token,
    },
    renew: { type: 'renew', token },
    ping: { type: 'ping' },
    'ping-with-a-ref': { type: 'ping', ref: 'p' as Ref },
  };

  test.each(cases(client.valid))('a frame of the client is written alike: %s', (id, one) => {
    expect(FRAMES[id]).toEqual(JSON.parse(one.text));
  });

  test.each(cases(server))('a frame of the server keeps all its members: %s', (_, one) => {
    const frame = decodeServerFrame(one.text);
    expect(frame).toEqual(JSON.parse(one.text));
    if (frame?.type === 'messages') {
      for (const raw of frame.messages) expect(message(raw, 'message')).toEqual(raw);
    }
  });

  test('a frame of a type from the future is no error', () => {
    expect(decodeServerFrame('{"type":"poke","at":1}')).toBeUndefined();
    expect(decodeServerFrame('{"type":"toString"}')).toBeUndefined();
  });

  test.each([
    '',
    'hello',
    '[]',
    'null',
    '{"type":1}',
    '{}',
    '{"type":"acked","ref":1.5,"removed":1}',
    '{"type":"acked","ref":1}',
    '{"type":"messages","messages":{},"cursor":"1-1"}',
    `{"type":"pong","ref":"${'r'.repeat(65)}"}`,
  ])('no frame of a server: %s', text => {
    expect(refusal(() => decodeServerFrame(text))).toBe('bad_request');
  });
});
