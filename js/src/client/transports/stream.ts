/**
 * A pushd server's stream: drives a `ClientSession` over whatever connection can be had.
 *
 * The session decides, this file carries out. What the server says is answered at once;
 * what the listeners say is gathered for a moment, so that one ack goes for many messages.
 */

import * as CloseCode from '../../protocol/codes.ts';
import type { Command, Status, StreamClosed } from '../../protocol/commands.ts';
import type { MessageId } from '../../protocol/ids.ts';
import { type Progress, progress } from '../../protocol/ledger.ts';
import type { ClientFrame, Message, Overflow, Read } from '../../protocol/messages.ts';
import { optional } from '../../protocol/shape.ts';
import { ClientSession } from '../../protocol/session.ts';
import { pause, seconds } from '../clock.ts';
import type { Credentials } from '../credentials.ts';
import { asError, type Recipient } from '../listeners.ts';
import type { Store } from '../store.ts';
import type { Connection, Peer, Ways } from './connection.ts';

/** Milliseconds between two looks at the clock. */
const TICK = 1000;
/** Milliseconds within which a server answers that a connection survived a sleep. */
const PROBE = 10_000;
/** Milliseconds for which what the listeners say is gathered. */
const GATHER = 20;
/** Messages the listeners are done with that are not waited with. */
const GATHER_AT_MOST = 100;

/** Who a stream works for: quick, and never throwing. */
export interface Audience {
  /** Hand a message to the listeners; answer with `handled`, `held` or `failed`. */
  arrived(id: MessageId, message: Message): void;
  /** Show how the connection stands. */
  stands(status: Status): void;
  read(read: Read): void;
  overflow(overflow: Overflow): void;
  /** Show a frame, for people who want to see the wire. */
  frame(direction: 'in' | 'out', json: string): void;
  /** Learn that what was handled cannot be kept. */
  notSaved(error: Error): void;
}

export interface StreamOptions {
  /** DID of the mailbox. */
  identity: string;
  /** Canonical URL. */
  server: string;
  /** Makes tokens to receive. */
  credentials: Credentials;
  /** Keeps the progress. */
  store: Store;
  /** How many messages may be under way. */
  window?: number | undefined;
  /** Name under which a newer session replaces this one. */
  device?: string | undefined;
  /** The ways to the server. */
  ways: Ways;
}

/** Brings the messages of one mailbox from one server. */
export class Stream implements Recipient {
  readonly #options: StreamOptions;
  readonly #audience: Audience;
  readonly #name: string;
  #session: ClientSession;
  #connection: Connection | undefined;
  #hurry = new AbortController();
  #soon: ReturnType<typeof setTimeout> | undefined;
  #gathered = 0;
  #probe: ReturnType<typeof setTimeout> | undefined;
  #freshToken = false;
  #toSave: Progress | undefined;
  #saving: Promise<void> | undefined;
  #running = false;
  #end: (error: StreamClosed | undefined) => void = () => {};

  constructor(options: StreamOptions, audience: Audience) {
    this.#options = options;
    this.#audience = audience;
    this.#name = `cursor ${options.identity} ${options.server}`;
    this.#session = this.#makeSession(undefined);
  }

  #makeSession(progress: Progress | undefined): ClientSession {
    return new ClientSession(Math.random, { ...this.#options, progress });
  }

  /** Whether the mailbox is known to hold nothing: all came, and all is acked. */
  get empty(): boolean {
    return this.#session.empty;
  }

  /** The name of the way that is taken to the server. */
  get way(): string {
    return this.#options.ways.way.name;
  }

  /**
   * Brings messages until `stop`, or until coming back would be wrong: then it returns why.
   *
   * @param over Ends it at once; what is owed is saved, and said by who goes on.
   */
  async run(over: AbortSignal): Promise<StreamClosed | undefined> {
    this.#session = this.#makeSession(await this.#load());
    const ended = new Promise<StreamClosed | undefined>(resolve => (this.#end = resolve));
    const abandon = () => this.#abandon();
    over.addEventListener('abort', abandon);
    const ticker = setInterval(() => this.#tick(), TICK);
    this.#running = true;
    this.#session.start();
    this.#pump();
    if (over.aborted) abandon();
    const error = await ended;
    this.#running = false;
    clearInterval(ticker);
    clearTimeout(this.#soon);
    clearTimeout(this.#probe);
    over.removeEventListener('abort', abandon);
    this.#hurry.abort();
    await this.#saving;
    return error;
  }

  /** Returns what was saved; where that cannot be read, it begins at the first unread. */
  async #load(): Promise<Progress | undefined> {
    try {
      const kept = await this.#options.store.get(this.#name);
      return optional(progress)(kept, 'progress');
    } catch (error) {
      this.#audience.notSaved(asError(error));
      return undefined;
    }
  }

  handled(id: MessageId): void {
    this.#session.handled(id);
    this.#gather();
  }

  held(id: MessageId): void {
    this.#session.held(id);
    this.#gather();
  }

  failed(id: MessageId): void {
    this.#session.failed(id);
    this.#gather();
  }

  /** Is sent again what is unread. */
  reopen(): void {
    this.#session.reopen();
    this.#pump();
  }

  /** Ends, after what is owed was said. */
  stop(): void {
    this.#session.stop();
    this.#pump();
  }

  /** Looks whether the connection still lives; the machine may have slept. */
  awake(): void {
    const { status } = this.#session;
    // What the server asked to wait is waited; what the network cost is not.
    if (status.phase === 'waiting' && status.code === CloseCode.ABNORMAL) this.#hurry.abort();
    this.#tick();
    if (this.#connection && status.phase === 'live') {
      this.#probe ??= setTimeout(() => this.offline(), PROBE);
      this.#connection.send({ type: 'ping' });
    }
  }

  #heard(): void {
    clearTimeout(this.#probe);
    this.#probe = undefined;
    this.#session.heard(seconds());
  }

  /** Gives the connection up, as the network is gone. */
  offline(): void {
    this.#lose(CloseCode.ABNORMAL);
  }

  #abandon(): void {
    this.#lose(CloseCode.GOING_AWAY);
    this.#end(undefined);
  }

  #lose(code: number): void {
    const connection = this.#connection;
    if (!connection) return;
    this.#connection = undefined;
    connection.close(CloseCode.NORMAL, '');
    this.#closed(code);
  }

  // --- commands ------------------------------------------------------------------------

  #tick(): void {
    this.#session.tick(seconds());
    if (this.#options.ways.isTime()) this.#session.reopen();
    this.#pump();
  }

  #gather(): void {
    this.#gathered += 1;
    if (this.#gathered >= GATHER_AT_MOST) this.#pump();
    else this.#soon ??= setTimeout(() => this.#pump(), GATHER);
  }

  #pump(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    this.#gathered = 0;
    if (!this.#running) return;
    for (const command of this.#session.commands()) this.#execute(command);
  }

  #execute(command: Command): void {
    switch (command.do) {
      case 'dispatch':
        return this.#audience.arrived(command.id, command.message);
      case 'send':
        return this.#send(command.frame);
      case 'save':
        this.#toSave = command.progress;
        this.#saving ??= this.#save();
        return;
      case 'tell':
        if (command.status) this.#audience.stands(command.status);
        if (command.read) this.#audience.read(command.read);
        if (command.overflow) this.#audience.overflow(command.overflow);
        return;
      case 'connect':
        void this.#connect(command.delay, command.newToken);
        return;
      case 'make token':
        this.#session.renewed(this.#options.credentials.token('', true));
        return this.#pump();
      case 'close':
        this.#connection?.close(command.code, command.reason);
        return;
      case 'stop':
        this.#end(command.error);
    }
  }

  #send(frame: ClientFrame): void {
    const shown = 'token' in frame ? { ...frame, token: '…' } : frame;
    this.#audience.frame('out', JSON.stringify(shown));
    this.#connection?.send(frame);
  }

  /** Saves the latest progress, and while that is under way nothing else. */
  async #save(): Promise<void> {
    while (this.#toSave) {
      const progress = this.#toSave;
      this.#toSave = undefined;
      try {
        await this.#options.store.set(this.#name, progress);
      } catch (error) {
        this.#audience.notSaved(asError(error));
      }
    }
    this.#saving = undefined;
  }

  // --- one connection ------------------------------------------------------------------

  async #connect(delay: number, newToken: boolean): Promise<void> {
    this.#hurry = new AbortController();
    const session = this.#session;
    this.#freshToken ||= newToken;
    await pause(delay, this.#hurry.signal);
    if (!this.#running || session !== this.#session) return;
    const { ways, server } = this.#options;
    const { way } = ways;
    let spoke = false;
    let connection: Connection | undefined;
    const mine = () => connection !== undefined && this.#connection === connection;
    const peer: Peer = {
      frame: json => {
        if (!mine()) return;
        if (!spoke) ways.spoke(way);
        spoke = true;
        this.#heard();
        this.#audience.frame('in', json);
        this.#session.frame(json, seconds());
        this.#pump();
      },
      heard: () => this.#heard(),
      closed: (code, reason, retryAfter) => {
        if (!mine()) return;
        this.#connection = undefined;
        ways.over(server, way, code);
        this.#closed(code, reason, retryAfter);
      },
    };
    const opened = () => {
      if (!mine()) return;
      const token = this.#options.credentials.token('', this.#freshToken);
      this.#freshToken = false;
      this.#session.connected(token, seconds());
      this.#pump();
    };
    try {
      this.#connection = connection = way.open(server, peer, opened);
    } catch {
      // A page may not be allowed to connect there in this way.
      ways.over(server, way, CloseCode.ABNORMAL);
      this.#closed(CloseCode.ABNORMAL);
    }
  }

  #closed(code: number, reason = '', retryAfter = 0): void {
    const { credentials } = this.#options;
    if (this.#session.serverTime !== undefined) credentials.correct(this.#session.serverTime);
    const another = code === CloseCode.FORBIDDEN && credentials.claimName();
    this.#session.closed(code, reason, retryAfter, another);
    this.#pump();
  }
}
