/**
 * Models that listen as those of Radiks do, for apps that come from there.
 *
 *     import { configure, Model } from '@pushd/client/radiks'; // was: from 'radiks'
 *
 *     configure(client); // a Client that was started
 *     class Invite extends Model {}
 *     Invite.addStreamListener(invite => console.log(invite.attrs.title, invite.message.name));
 *     await new Invite({ title: 'Lunch' }).send('bob.id.blockstack');
 *
 * A Radiks server tells every model to everybody, and a model is whatever its storage says. Here
 * it is a message: sent to somebody, sealed to them, signed, and there when they come back. So
 * what was `save()` for all to find is `send(name)`; queries stay with Radiks.
 */

import type { Client } from './client/client.ts';
import type { Incoming } from './client/incoming.ts';
import type { Sent } from './client/outbox.ts';
import { NoBucket, PushdError } from './errors.ts';
import { object, parse } from './protocol/shape.ts';

/** Media type of a model. */
const TYPE = 'application/vnd.radiks+json';

type Attrs = Record<string, unknown>;
type ModelClass<M extends Model> = (new (attrs: Attrs, message?: Incoming) => M) & typeof Model;
type StreamCallback<M> = (model: M) => unknown;

let client: Client | undefined;

/** Says whose client the models of an app use. */
export function configure(used: Client): void {
  client = used;
}

function configured(): Client {
  if (!client) throw new NoBucket();
  return client;
}

/** What somebody made, of a class that an app gives its name. */
export class Model {
  /** The name under which models of this class travel; left out: that of the class. */
  static className: string | undefined;
  static readonly #callbacks = new Map<unknown, Map<unknown, (message: Incoming) => unknown>>();

  readonly attrs: Attrs;
  /** How it came; undefined for one that was made here. */
  readonly message: Incoming | undefined;

  constructor(attrs: Attrs = {}, message?: Incoming) {
    this.attrs = attrs;
    this.message = message;
  }

  /** Returns the name under which models of this class travel. */
  static modelName(): string {
    return this.className ?? this.name;
  }

  /** Calls back with every model of this class that comes. */
  static addStreamListener<M extends Model>(
    this: ModelClass<M>,
    callback: StreamCallback<M>,
  ): void {
    this.removeStreamListener(callback);
    const call = (message: Incoming) => callback(new this(attrsOf(message) ?? {}, message));
    const mine = Model.#callbacks.get(this) ?? new Map();
    Model.#callbacks.set(this, mine.set(callback, call));
    configured().addStreamListener(call, message => {
      return attrsOf(message)?.['radiksType'] === this.modelName();
    });
  }

  /** Calls a callback no more. */
  static removeStreamListener<M extends Model>(
    this: ModelClass<M>,
    callback: StreamCallback<M>,
  ): void {
    const call = Model.#callbacks.get(this)?.get(callback);
    if (call) configured().removeStreamListener(call);
    Model.#callbacks.get(this)?.delete(callback);
  }

  /** Sends it to somebody; resolves once their server keeps it. */
  send(to: string): Promise<Sent> {
    const radiksType = (this.constructor as typeof Model).modelName();
    const content = JSON.stringify({ ...this.attrs, radiksType });
    return configured().send(to, content, { contentType: TYPE });
  }
}

/** Returns the attributes of a message that holds a model. */
function attrsOf({ content, contentType }: Incoming): Attrs | undefined {
  if (contentType !== TYPE) return undefined;
  try {
    return object(parse(content, 'The model'), 'The model');
  } catch (error) {
    if (!(error instanceof PushdError)) throw error;
    return undefined;
  }
}
