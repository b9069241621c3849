// An app on the TypeScript client, driven from Python: a JSON order a line, an answer a line.
//
// Each order names a method of a client, or of this file, and has an `id` that its answer
// repeats; so orders may overlap. What happens by itself is said as an event.

import { createInterface } from 'node:readline';
import * as client from '../../../js/dist/index.js';
import * as parts from '../../../js/dist/parts.js';
import { configure, Model } from '../../../js/dist/radiks.js';

const pushd = { ...client, ...parts };

class Invite extends Model {}
class Reply extends Model {}

const clients = new Map();
/** What apps keep by themselves, as texts by their names. */
const shelves = new Map();
const say = line => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Makes a store as an app brings it, on a database that keeps texts. */
function storeOf(shelf) {
  const texts = shelves.get(shelf) ?? new Map();
  shelves.set(shelf, texts);
  return {
    async get(name) {
      return texts.has(name) ? JSON.parse(texts.get(name)) : undefined;
    },
    async set(name, value) {
      if (value === undefined) texts.delete(name);
      else texts.set(name, JSON.stringify(value));
    },
  };
}

const here = {
  /** Makes a client, with a store of its own if it `keeps` things; it listens once it is told to. */
  make({ who, key, keeps, ...options }) {
    if (keeps) options.store = storeOf(keeps);
    const client = new pushd.Client(pushd.PrivateKey.fromHex(key), options);
    clients.set(who, client);
    client.onState(state => say({ who, event: 'state', ...state }));
    client.onError((error, message) => say({ who, event: 'error', name: error.name, id: message.id }));
    client.onRead(read => say({ who, event: 'read', ...read }));
    client.onFrame((direction, json) => say({ who, event: 'frame', direction, json }));
    client.onUnsent((draft, error) => say({ who, event: 'unsent', id: draft.id, name: error.name }));
    return client.identity;
  },
  /** Says every message that comes. */
  listen({ who }) {
    clients.get(who).addStreamListener(({ received, ack, ...message }) => {
      say({ who, event: 'message', ...message });
    });
  },
  /** Listens to models, as a Radiks app does. */
  models({ who }) {
    configure(clients.get(who));
    const callback = ({ attrs, message }) => say({ who, event: 'model', ...attrs, from: message.name });
    const removed = () => say({ who, event: 'model', removed: true });
    Invite.addStreamListener(callback);
    Invite.addStreamListener(removed);
    Invite.removeStreamListener(removed);
  },
  /** Sends a model to somebody. */
  async model({ who, kind, to, attrs }) {
    configure(clients.get(who));
    return new { Invite, Reply }[kind](attrs).send(to);
  },
  /** Makes a receiver, the part alone, and says every payload that comes. */
  receive({ who, key, way, ...options }) {
    const ways = pushd.waysOf({ way });
    const receiver = new pushd.Receiver(pushd.PrivateKey.fromHex(key), { ...options, ways });
    clients.set(who, receiver);
    receiver.onState(state => say({ who, event: 'state', ...state }));
    receiver.listen(({ id, payload }) => say({ who, event: 'payload', id, payload }));
    void receiver.start();
  },
  /** Tells the names under which something is kept. */
  kept: ({ keeps }) => [...shelves.get(keeps).keys()],
  /** Tells which of these the system lacks. */
  lacks: ({ names }) => names.filter(name => globalThis[name] === undefined),
  /** Seals or opens content. */
  encrypt: ({ text, to }) => pushd.encrypt(text, pushd.PublicKey.fromHex(to)),
  decrypt: ({ text, key }) => pushd.decrypt(text, pushd.PrivateKey.fromHex(key)),
  token: ({ key, ...told }) => pushd.makeToken(pushd.PrivateKey.fromHex(key), told),
};

async function obey({ id, call, who, args = [], ...told }) {
  try {
    const result = Object.hasOwn(here, call)
      ? await here[call]({ who, ...told })
      : await clients.get(who)[call](...args);
    say({ id, result: result ?? null });
  } catch (error) {
    say({ id, error: { name: error.name, code: error.code, message: error.message } });
  }
}

createInterface({ input: process.stdin })
  .on('line', line => void obey(JSON.parse(line)))
  .on('close', () => process.exit());
