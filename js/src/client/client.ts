/**
 * The client: send to a name, listen as oneself; keys and servers find themselves.
 *
 *     const client = new Client(key, { app, name, hub, servers, namesApi });
 *     await client.start();
 *     await client.publish();
 *     client.listen(message => console.log(message.name, message.content));
 *     await client.send('bob.id.blockstack', 'Hello Bob');
 *
 * It puts together what each part does alone: the queue and the outbox send, a `Receiver` for
 * each server listens, the inbox opens what comes, the directory finds and proves names.
 */

import { badRequest, NoBucket } from '../errors.ts';
import { randomText } from '../identity/bytes.ts';
import type { PrivateKey } from '../identity/keys.ts';
import { formOf, validateApp } from '../identity/names.ts';
import type { Overflow, Read } from '../protocol/messages.ts';
import { canonicalUrl } from '../protocol/urls.ts';
import { blockstackNames } from '../resolvers/blockstack.ts';
import { Directory } from '../resolvers/directory.ts';
import { Fetcher } from '../resolvers/fetcher.ts';
import { type Clock, hurry, unixSeconds } from './clock.ts';
import { Bucket } from './gaia.ts';
import { Handled } from './handled.ts';
import { Inbox, type Opened } from './inbox.ts';
import { type Incoming, incomingOf } from './incoming.ts';
import { Kept } from './kept.ts';
import {
  type Callback,
  Callbacks,
  type ErrorCallback,
  type Filter,
  type Listener,
  Listeners,
} from './listeners.ts';
import type { ClientOptions, SendHow } from './options.ts';
import { type Draft, Outbox, type Sent } from './outbox.ts';
import { Publisher } from './publisher.ts';
import { Queue } from './queue.ts';
import { Receiver } from './receiver.ts';
import { Servers } from './servers.ts';
import type { State } from './state.ts';
import { openStore, type Store } from './store.ts';
import { waysOf } from './transports/ways.ts';
import { watch } from './wake.ts';

/** Milliseconds between two looks at what is to be saved, and at servers that were left. */
const LOOK_EVERY = 5000;

/** Sends and listens for one identity in one app. */
export class Client {
  /** DID of the identity, and of its mailboxes. */
  readonly identity: string;
  readonly app: string;
  /** Name the identity claims. */
  readonly name: string | undefined;
  /** Where the identity keeps its files; undefined without a hub. */
  readonly bucket: Bucket | undefined;
  /** Finds and proves names. */
  readonly directory: Directory;
  /** The way out, also for what an app fetches of others. */
  readonly fetcher: Fetcher;
  readonly #key: PrivateKey;
  readonly #options: ClientOptions;
  readonly #clock: Clock;
  readonly #handled = new Handled();
  readonly #listeners: Listeners<Opened>;
  readonly #servers: Servers;
  readonly #states = new Callbacks<[State, string]>();
  readonly #reads = new Callbacks<[Read, string]>();
  readonly #overflows = new Callbacks<[Overflow, string]>();
  readonly #frames = new Callbacks<['in' | 'out', string, string]>();
  readonly #sent = new Callbacks<[Sent]>();
  readonly #unsent = new Callbacks<[Draft, Error]>();
  readonly #streamListeners = new Map<Callback<Incoming>, Listener>();
  #own: string[];
  #started: Promise<void> | undefined;
  #store: Store | undefined;
  #kept: Kept | undefined;
  #queue: Queue | undefined;
  #publisher: Publisher | undefined;
  #keeper: ReturnType<typeof setInterval> | undefined;
  #unwatch: () => void = () => {};

  constructor(key: PrivateKey, options: ClientOptions) {
    const { name, hub, namesApi, clock = unixSeconds } = options;
    if (name !== undefined) formOf(name);
    this.identity = key.did;
    this.app = validateApp(options.app);
    this.name = name;
    this.#key = key;
    this.#options = options;
    this.#clock = clock;
    this.#own = canonical(options.servers ?? []);
    const fetcher = (this.fetcher = new Fetcher(options.devHosts));
    const sources = {
      ...(namesApi && { 'Blockstack name': blockstackNames(namesApi, fetcher) }),
      ...options.sources?.(fetcher),
    };
    this.directory = options.directory ?? new Directory(sources, fetcher, clock);
    this.bucket = hub === undefined ? undefined : new Bucket(key, hub, { fetcher, clock });
    const inbox = new Inbox(key, {
      app: this.app,
      directory: this.directory,
      fetcher,
      handled: this.#handled,
      accept: options.accept,
    });
    this.#listeners = new Listeners({ ack: options.ack, open: inbox.open });
    this.#servers = new Servers(server => this.#makeReceiver(server), clock);
  }

  /** The identity's message servers in order of preference. */
  get servers(): string[] {
    return [...this.#own];
  }

  // --- sending -------------------------------------------------------------------------

  /**
   * Sends a message, and returns once the recipient's server keeps it.
   *
   * The message stays in this identity's bucket; what is delivered is the encrypted word of
   * where it is. While nobody answers it waits in the queue, also across reloads. It rejects
   * for good: if a server refuses, or the name proves to be nobody's, or cannot be reached.
   *
   * @param to A name, or the did:key of somebody at this identity's own servers.
   */
  async send(to: string, content: string, how: SendHow = {}): Promise<Sent> {
    if (!this.bucket) throw new NoBucket();
    await this.start();
    const { id = randomText(), contentType, ttl } = how;
    const at = Math.round(this.#clock() * 1000) / 1000;
    return (this.#queue as Queue).add({ id, to, content, contentType, ttl, at });
  }

  /** Returns the messages that wait to be sent. */
  async queued(): Promise<Draft[]> {
    await this.start();
    return (await this.#queue?.drafts()) ?? [];
  }

  /** Calls back with each message that was sent, also what an earlier page left. */
  onSent(callback: (sent: Sent) => unknown): () => void {
    return this.#sent.add(callback);
  }

  /** Calls back with each message that cannot be sent, and why. */
  onUnsent(callback: (draft: Draft, error: Error) => unknown): () => void {
    return this.#unsent.add(callback);
  }

  // --- listening -----------------------------------------------------------------------

  /**
   * Calls `callback` with every message that `filter` lets through.
   *
   * The message is acked after the callback returned, or its promise was kept, unless it
   * threw.
   */
  listen(callback: Callback<Incoming>, filter?: Filter<Incoming>): Listener {
    return this.#listeners.add(
      received => callback(incomingOf(received)),
      received => !filter || filter(incomingOf(received)),
    );
  }

  /** Does as `listen`, in the words of Radiks. */
  addStreamListener(callback: Callback<Incoming>, filter?: Filter<Incoming>): void {
    this.removeStreamListener(callback);
    this.#streamListeners.set(callback, this.listen(callback, filter));
  }

  /** Calls a callback no more. */
  removeStreamListener(callback: Callback<Incoming>): void {
    this.#streamListeners.get(callback)?.cancel();
    this.#streamListeners.delete(callback);
  }

  /**
   * Calls back with why a message was not handled, and the message as it came.
   *
   * It stays unread and comes again, unless the callback acks it.
   */
  onError(callback: ErrorCallback<Opened>): () => void {
    return this.#listeners.errors.add(callback);
  }

  /** Calls back whenever the connection to a server stands otherwise. */
  onState(callback: (state: State, server: string) => unknown): () => void {
    return this.#states.add(callback);
  }

  /** Calls back with what other devices acked at a server. */
  onRead(callback: (read: Read, server: string) => unknown): () => void {
    return this.#reads.add(callback);
  }

  /** Calls back when the mailbox at a server was full. */
  onOverflow(callback: (overflow: Overflow, server: string) => unknown): () => void {
    return this.#overflows.add(callback);
  }

  /** Calls back with each frame of this page's connections, tokens taken out. */
  onFrame(
    callback: (direction: 'in' | 'out', json: string, server: string) => unknown,
  ): () => void {
    return this.#frames.add(callback);
  }

  #makeReceiver(server: string): Receiver<Opened> {
    const receiver = new Receiver<Opened>(this.#key, {
      ...this.#options,
      server,
      store: this.#store,
      listeners: this.#listeners,
      ways: waysOf(this.#options),
      begin: async () => this.#kept?.recall(),
    });
    receiver.onState(state => this.#states.tell(state, server));
    receiver.onRead(read => this.#reads.tell(read, server));
    receiver.onOverflow(overflow => this.#overflows.tell(overflow, server));
    receiver.onFrame((direction, json) => this.#frames.tell(direction, json, server));
    return receiver;
  }

  // --- being found ---------------------------------------------------------------------

  /**
   * Says in the bucket how to write to this identity, where that is not said yet; returns
   * the paths of the files that were written.
   */
  publish(): Promise<string[]> {
    return this.#publish(this.#own);
  }

  /**
   * Changes the servers: others write to the new ones from now on.
   *
   * The contact document says so first; when that cannot be written, nothing changes. What
   * is still sent to the old ones arrives: they are listened at until two hours have passed
   * and nothing is there.
   */
  async moveTo(servers: string[]): Promise<void> {
    const own = canonical(servers);
    if (!own.length) throw badRequest('An identity moves to at least one server.');
    await this.#publish(own);
    this.#own = own;
    if (this.#started) {
      await this.#started;
      this.#servers.moveTo(own);
      await this.#save();
    }
  }

  async #publish(servers: string[]): Promise<string[]> {
    if (!this.bucket) throw new NoBucket();
    this.#publisher ??= new Publisher(this.#key, this.app, this.bucket, this.#clock);
    return this.#publisher.publish(servers);
  }

  // --- its life ------------------------------------------------------------------------

  /** Begins to listen, once there is a listener, and to send what waits. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    const store = (this.#store = this.#options.store ?? (await openStore()));
    const kept = (this.#kept = new Kept(this.identity, store, this.#handled));
    const { own, left } = await kept.recall();
    this.#servers.begin(this.#own, own, left);
    if (this.bucket) this.#queue = this.#makeQueue(store, this.bucket);
    this.#keeper = setInterval(() => void this.#keep(), LOOK_EVERY);
    this.#unwatch = watch({
      awake: () => {
        hurry();
        this.#queue?.hurry();
      },
      offline: () => {},
      asleep: () => void this.#keep(),
    });
    await this.#save();
  }

  #makeQueue(store: Store, bucket: Bucket): Queue {
    const outbox = new Outbox(this.#key, {
      app: this.app,
      bucket,
      directory: this.directory,
      fetcher: this.fetcher,
      name: this.name,
      servers: () => this.#own,
      giveUpAfter: this.#options.giveUpAfter ?? 30,
      clock: this.#clock,
    });
    const queue = new Queue({
      identity: this.identity,
      store,
      clock: this.#clock,
      tabs: this.#options.tabs ?? true,
      send: (draft, keep) => outbox.send(draft, keep),
    });
    queue.sent.add(sent => this.#sent.tell(sent));
    queue.unsent.add((draft, error) => this.#unsent.tell(draft, error));
    queue.start();
    return queue;
  }

  /** Goes offline on purpose, until `resume`: nothing is sent, and nothing comes. */
  pause(): void {
    this.#servers.pause();
    this.#queue?.pause();
  }

  resume(): void {
    this.#servers.resume();
    this.#queue?.start();
  }

  /** Lets the listeners finish, says the last acks, and closes. */
  async stop(): Promise<void> {
    await this.#started;
    clearInterval(this.#keeper);
    this.#unwatch();
    this.#queue?.stop();
    await this.#servers.stop();
    await this.#save();
  }

  /** Leaves servers when it is time to, and saves what changed. */
  async #keep(): Promise<void> {
    const left = await this.#servers.leave();
    if (left || this.#handled.changed) await this.#save();
  }

  async #save(): Promise<void> {
    await this.#kept?.save(this.#servers);
  }
}

const canonical = (servers: string[]) => [...new Set(servers.map(canonicalUrl))];
