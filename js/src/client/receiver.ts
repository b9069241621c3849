/**
 * Listen: one connection to one server, many listeners, and an ack once they are done.
 *
 * A message is acked after every listener whose filter matched has returned. It stays
 * unread, and comes again with the next connection, when a listener threw, when it could not
 * be opened, or when no listener wanted it; the first two are told to the error listeners. A
 * listener that is added later is sent what nobody wanted before.
 *
 * Of several tabs one has the connection (`tabs.ts`). It opens each message and shows it to
 * the others; where its own listeners decline, whoever of the others handles it settles it.
 */

import type { PrivateKey } from '../identity/keys.ts';
import { StreamClosed } from '../protocol/commands.ts';
import { MessageId } from '../protocol/ids.ts';
import type { Message, Overflow, Read } from '../protocol/messages.ts';
import { canonicalUrl } from '../protocol/urls.ts';
import { Arrivals } from './arrivals.ts';
import { type Clock, pause } from './clock.ts';
import { Credentials } from './credentials.ts';
import {
  type Callback,
  Callbacks,
  type ErrorCallback,
  type Filter,
  type Listener,
  Listeners,
  Received,
  type Recipient,
} from './listeners.ts';
import { type State, stateOf } from './state.ts';
import { MemoryStore, type Store } from './store.ts';
import { Tabs } from './tabs.ts';
import { only, type Ways } from './transports/connection.ts';
import { Stream } from './transports/stream.ts';
import { websockets } from './transports/websocket.ts';
import { watch } from './wake.ts';

/** Milliseconds other tabs have to handle what this one's listeners declined. */
const OTHERS_TIME = 10_000;
/** Seconds listeners have to finish when the receiver stops, and then the server. */
const GRACE = 5;

/** How to listen, the same for a `Receiver` and a `Client`. */
export interface ListenOptions {
  /** Keeps what was handled; without one a new page begins at the first unread message. */
  store?: Store | undefined;
  /** Name of this installation; a newer session with it replaces this one. */
  device?: string | undefined;
  /** How many messages may be under way, 1 to 1000. */
  window?: number | undefined;
  /** Whether the tabs of a browser share one connection. */
  tabs?: boolean | undefined;
  /** Seconds a token is valid; renewed while the session lasts. */
  tokenLifetime?: number | undefined;
  clock?: Clock | undefined;
}

export interface ReceiverOptions<C> extends ListenOptions {
  /** The owner's server, from the app's own settings. */
  server: string;
  /** `auto` acks a message once its listeners returned; `manual` leaves that to `ack()`. */
  ack?: 'auto' | 'manual' | undefined;
  /**
   * Called with each message before any filter; what it returns becomes `message.content`,
   * and is plain data where tabs share. Throws for what cannot be opened.
   */
  open?: ((message: Received<C>) => C | Promise<C>) | undefined;
  /** Who is called, shared with other receivers; made of `ack` and `open` if left out. */
  listeners?: Listeners<C> | undefined;
  /** Called before this tab, of several, begins to lead; it waits for that. */
  begin?: (() => Promise<unknown>) | undefined;
  /** The ways to the server; a websocket alone if left out. */
  ways?: Ways | undefined;
  /** Name the owner claims, by which a server may find the owner's contact document. */
  name?: string | undefined;
  /** Web origin the name belongs to; needed with a name. */
  app?: string | undefined;
}

/** Listens for one identity at one server. */
export class Receiver<C = unknown> {
  /** DID of the mailbox. */
  readonly identity: string;
  /** Canonical URL of the server. */
  readonly server: string;
  /** How the connection stands. */
  state: State;
  readonly #stream: Stream;
  readonly #listeners: Listeners<C>;
  readonly #begin: (() => Promise<unknown>) | undefined;
  readonly #tabs: Tabs;
  readonly #states = new Callbacks<[State]>();
  readonly #reads = new Callbacks<[Read]>();
  readonly #overflows = new Callbacks<[Overflow]>();
  readonly #frames = new Callbacks<['in' | 'out', string]>();
  readonly #arrivals: Arrivals<C>;
  // Messages other tabs were shown, until they are acked.
  readonly #shown = new Map<string, Received<C>>();
  #others = false;
  #over: AbortController | undefined;
  #leading = false;
  #paused = false;
  #asleep = false;
  #stopping = false;
  #running: Promise<StreamClosed | undefined> | undefined;
  #mayRun: () => void = () => {};
  #unwatch: () => void = () => {};

  constructor(key: PrivateKey, options: ReceiverOptions<C>) {
    this.identity = key.did;
    this.server = canonicalUrl(options.server);
    this.#listeners = options.listeners ?? new Listeners(options);
    this.#arrivals = new Arrivals(this.#listeners, message => this.#call(message));
    this.#begin = options.begin;
    const { name, app, clock, tokenLifetime: lifetime = 3600 } = options;
    const audience = this.server;
    this.#stream = new Stream(
      {
        ...options,
        identity: this.identity,
        server: this.server,
        credentials: new Credentials(key, { audience, scope: 'receive', lifetime, name, app, clock }),
        store: options.store ?? new MemoryStore(),
        ways: options.ways ?? only({ name: 'websocket', open: websockets(globalThis.WebSocket) }),
      },
      {
        arrived: (id, message) =>
          this.#arrivals.take(new Received<C>(id, message, this.#stream, this.server)),
        stands: status => this.#show(stateOf(status, this.#stream.way)),
        read: read => this.#hear({ read }),
        overflow: overflow => this.#hear({ overflow }),
        frame: (direction, json) => this.#frames.tell(direction, json),
        notSaved: error => console.error('What was handled is not saved:', error.name),
      },
    );
    const shared = options.tabs ?? true;
    this.#tabs = new Tabs(`${this.identity} ${this.server}`, shared, told => this.#told(told));
    this.state = { is: 'connecting', unread: 0, received: 0, reason: '', leader: false, way: '' };
  }

  /** Whether the mailbox is known to hold nothing: all came, and all is acked. */
  get empty(): boolean {
    return this.#stream.empty;
  }

  // --- who listens ---------------------------------------------------------------------

  /** Calls `callback` with every message that `filter` lets through. */
  listen(callback: Callback<Received<C>>, filter?: Filter<Received<C>>): Listener {
    return this.#listeners.add(callback, filter);
  }

  /** Calls back with each message that was not handled, and why. It comes again. */
  onError(callback: ErrorCallback<C>): () => void {
    return this.#listeners.errors.add(callback);
  }

  /** Calls back whenever the connection stands otherwise, and while it catches up. */
  onState(callback: (state: State) => unknown): () => void {
    return this.#states.add(callback);
  }

  /** Calls back with what other sessions of this mailbox acked. */
  onRead(callback: (read: Read) => unknown): () => void {
    return this.#reads.add(callback);
  }

  /** Calls back when the mailbox was full and refused deliveries. */
  onOverflow(callback: (overflow: Overflow) => unknown): () => void {
    return this.#overflows.add(callback);
  }

  /** Calls back with each frame of this page's connection, tokens taken out. */
  onFrame(callback: (direction: 'in' | 'out', json: string) => unknown): () => void {
    return this.#frames.add(callback);
  }

  // --- its life ------------------------------------------------------------------------

  /**
   * Begins to listen, once there is a listener; comes back by itself until `stop`.
   *
   * @returns Why it ended, if the server does not want this client back.
   */
  start(): Promise<StreamClosed | undefined> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<StreamClosed | undefined> {
    const unlisten = this.#listeners.added.add(() => this.#listened());
    this.#unwatch = watch({
      awake: () => this.#wake(),
      offline: () => this.#stream.offline(),
      asleep: () => this.#sleep(),
    });
    this.#tabs.post({ here: true });
    let error: StreamClosed | undefined;
    while (!error && !this.#stopping) {
      if (this.#paused || this.#asleep || !this.#listeners.size) {
        await new Promise<void>(resolve => (this.#mayRun = resolve));
        continue;
      }
      const over = new AbortController();
      this.#over = over;
      error = await this.#tabs.lead(over.signal, () => this.#lead(over.signal));
    }
    unlisten();
    this.#unwatch();
    this.#tabs.close();
    this.#arrivals.close();
    return error;
  }

  async #lead(over: AbortSignal): Promise<StreamClosed | undefined> {
    if (this.#stopping || over.aborted) return undefined;
    this.#leading = true;
    this.#tabs.post({ leads: true });
    try {
      await this.#begin?.();
      const error = await this.#stream.run(over);
      // Before the next one leads, which would be sent away as well.
      if (error) this.#tabs.post({ closed: { code: error.code, reason: error.message } });
      return error;
    } finally {
      this.#leading = false;
    }
  }

  /** Lets the listeners finish, says the last acks, and closes. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const finished = new AbortController();
    void this.#arrivals.drop().finally(() => finished.abort());
    await pause(GRACE, finished.signal);
    this.#stream.stop();
    const timer = setTimeout(() => this.#over?.abort(), 1000 * GRACE);
    if (!this.#leading) this.#over?.abort();
    this.#mayRun();
    await this.#running;
    clearTimeout(timer);
  }

  /** Closes the connection until `resume`; another tab may go on. */
  pause(): void {
    this.#paused = true;
    this.#rest('Paused.');
  }

  resume(): void {
    this.#paused = false;
    this.#mayRun();
  }

  /** Looks whether the connection lives, as the system told an app that it woke up. */
  #wake(): void {
    this.#asleep = false;
    this.#mayRun();
    this.#stream.awake();
  }

  #sleep(): void {
    this.#asleep = true;
    this.#rest('The page was frozen.');
  }

  #rest(reason: string): void {
    this.#over?.abort();
    this.#show({ ...this.state, is: 'offline', leader: false, reason }, false);
  }

  #listened(): void {
    this.#mayRun();
    if (!this.#leading) this.#tabs.post({ listened: true });
    else this.#offerAgain();
  }

  #offerAgain(): void {
    if (this.#listeners.unwanted) {
      this.#listeners.unwanted = false;
      this.#stream.reopen();
    }
  }

  /** Calls the listeners, and shows the message to other tabs. */
  async #call(message: Received<C>): Promise<void> {
    if (!this.#leading || !this.#others) return this.#listeners.call(message);
    this.#shown.set(message.id, message);
    this.#tabs.post({ message: message.message, content: message.content });
    await this.#listeners.call(message, () => {
      setTimeout(() => message.leave(), OTHERS_TIME);
      return true;
    });
    for (const [id, { acked }] of this.#shown) if (acked) this.#shown.delete(id);
  }

  // --- other tabs ----------------------------------------------------------------------

  /** Takes what another tab says. */
  #told(posted: Record<string, unknown>): void {
    if (posted['closed']) this.#toldClosed(posted['closed'] as State);
    else if (this.#leading) this.#toldLeader(posted);
    else if (posted['leads']) this.#tabs.post({ here: true });
    else if (posted['message']) this.#shownMessage(posted);
    else if (posted['state']) this.#show({ ...(posted['state'] as State), leader: false }, false);
    else this.#hear(posted, false);
  }

  #toldLeader(posted: Record<string, unknown>): void {
    if (posted['here']) {
      this.#others = true;
      this.#tabs.post({ state: this.state });
    } else if (posted['handled']) this.#shown.get(String(posted['handled']))?.ack();
    else if (posted['listened']) this.#offerAgain();
  }

  /** Takes a message that the leader shows, to be settled by it. */
  #shownMessage(posted: Record<string, unknown>): void {
    if (this.#paused || !this.#listeners.size) return;
    const recipient: Recipient = {
      handled: id => this.#tabs.post({ handled: `${id}` }),
      held: () => {},
      failed: () => {},
    };
    const message = posted['message'] as Message;
    const place = MessageId.parse(message.id);
    const received = new Received<C>(place, message, recipient, this.server);
    received.content = posted['content'] as C;
    this.#arrivals.take(received, Promise.resolve(true));
  }

  /** Gives up with the leader: where it was sent away, this tab would be as well. */
  #toldClosed({ code, reason }: Pick<State, 'code' | 'reason'>): void {
    this.#stopping = true;
    this.#over?.abort();
    this.#show({ ...this.state, is: 'closed', code: code ?? 0, reason }, false);
  }

  // --- what apps are shown -------------------------------------------------------------

  #show(state: State, toOthers = true): void {
    this.state = state;
    this.#states.tell(state);
    if (toOthers) this.#tabs.post({ state });
  }

  #hear(told: { read?: Read; overflow?: Overflow }, toOthers = true): void {
    const { read, overflow } = told;
    if (read) this.#reads.tell(read);
    if (overflow) this.#overflows.tell(overflow);
    if (toOthers) this.#tabs.post({ read, overflow });
  }
}
