/**
 * The client's half of a session: what it says, whom it tells, when it comes back.
 *
 * Theory of operation. Events come in as method calls; `commands()` then returns what the
 * driver has to do. It is called after any burst of events, so that what can travel together
 * does: one `seen` or `ack` for many messages.
 *
 *     connecting --connected--> opening --welcome--> catching up --caught_up--> live
 *         ^                                               ^                       |
 *         |                                               +-------- replay -------+
 *         |
 *         +--- waiting <-- closed, in every state; or stopped, when it is for good
 *
 * The session promises that every message reaches the listeners at least once, that it is
 * acked only after they handled it, and that the cursor never passes one they did not; the
 * `Ledger` keeps those books. While as many messages are with the listeners as the window is
 * wide, nothing more is reported as seen, so a slow app is never flooded.
 *
 * Time and randomness are arguments: seconds of any clock that does not jump, and a function
 * returning 0 to 1. The vectors `sessions.json` hold this machine and the one in Python to
 * the same behaviour.
 */

import { badRequest, PushdError } from '../errors.ts';
import { advice } from './closing.ts';
import * as CloseCode from './codes.ts';
import { type Command, type Phase, type Status, StreamClosed } from './commands.ts';
import { Cursor, MessageId } from './ids.ts';
import { Ledger, type Progress } from './ledger.ts';
import {
  type Closing,
  DEFAULT_WINDOW,
  DEVICE,
  decodeServerFrame,
  type FrameOf,
  type Hello,
  MAX_WINDOW,
  message as messageShape,
  type ServerFrame,
} from './messages.ts';

/** Seconds the first wait before a reconnect is shorter than. */
export const BACKOFF_BASE = 0.5;
/** Seconds every later wait is shorter than, what the server asks for aside. */
export const BACKOFF_CAP = 30;
/** Seconds a server has to answer a hello. */
const WELCOME_TIMEOUT = 10;
/** Ticks a client that stops waits for its last acks to be confirmed. */
const STOP_TICKS = 2;
const DEFAULT_PING_INTERVAL = 25;

/** Options of a session. */
export interface SessionOptions {
  /** What was saved the last time; left out: begin at the first unread message. */
  progress?: Progress | undefined;
  /** How many messages may be under way, 1 to 1000. */
  window?: number | undefined;
  /** Name under which a newer session replaces this one. */
  device?: string | undefined;
}

/** One client's conversations with one server, over any number of connections. */
export class ClientSession {
  /** How the connection stands. */
  status: Status = stands('connecting');
  /** What the server's clock said, in Unix seconds, when it refused the last token. */
  serverTime: number | undefined;
  readonly #random: () => number;
  readonly #ledger: Ledger;
  readonly #asked: number;
  readonly #device: string | undefined;
  #window: number;
  #out: Command[] = [];
  #saved: string;
  #pingInterval = DEFAULT_PING_INTERVAL;
  #heard = 0;
  #pinged = false;
  // The last message that arrived, and how many the server does not know of as seen.
  #arrived: MessageId | undefined;
  #unseen = 0;
  #acksWait = false;
  #attempts = 0;
  #refusedTokens = 0;
  #advice: Closing | undefined;
  #error: PushdError | undefined;
  #stopping = false;
  #reopening = false;
  #patience = STOP_TICKS;

  /**
   * @param random Returns a number from 0 to 1; spreads the reconnects.
   * @throws PushdError if no server would take such a window or device.
   */
  constructor(random: () => number, options: SessionOptions = {}) {
    this.#random = random;
    this.#ledger = new Ledger(options.progress ?? { acks: [], upto: [] });
    const { window = DEFAULT_WINDOW, device } = options;
    if (window % 1 || window < 1 || window > MAX_WINDOW || !DEVICE.test(device ?? '-'))
      throw badRequest('The window or device is out of range.');
    this.#window = this.#asked = window;
    this.#device = device;
    this.#saved = `${this.#ledger.cursor}`;
  }

  /** Whether the mailbox is known to hold nothing: all came, and all is acked. */
  get empty(): boolean {
    return this.status.phase === 'live' && this.#ledger.settled;
  }

  /** The cursor to resume after, as it is written; undefined begins at the first unread. */
  get after(): string | undefined {
    const { cursor } = this.#ledger;
    return cursor && `${cursor}`;
  }

  /** Returns what is to be done by now, each thing once. */
  commands(): Command[] {
    this.#flush();
    return this.#out.splice(0);
  }

  // --- the connection ------------------------------------------------------------------

  /** Begins to connect. */
  start(): void {
    this.#out.push({ do: 'connect', delay: 0, newToken: false });
    this.#tell(stands('connecting'));
  }

  /** Says hello: the connection is there, and this token is for it. */
  connected(token: string, now: number): void {
    const { holding } = this.#ledger;
    this.#ledger.resume();
    this.#window = this.#asked;
    this.#arrived = this.#advice = this.#error = this.serverTime = undefined;
    this.#unseen = 0;
    this.#pinged = this.#acksWait = false;
    this.#heard = now;
    this.status = stands('opening');
    const frame: Hello = { type: 'hello', token };
    if (this.after !== undefined) frame.after = this.after;
    if (this.#asked !== DEFAULT_WINDOW) frame.window = this.#asked;
    if (this.#device !== undefined) frame.device = this.#device;
    if (holding.length) frame.holding = holding;
    this.#out.push({ do: 'send', frame });
  }

  /** Presents a new token before the old one ends. */
  renewed(token: string): void {
    if (this.#open) this.#out.push({ do: 'send', frame: { type: 'renew', token } });
  }

  /**
   * Takes note that the connection is gone, or never came to be.
   *
   * @param code The close code; 1006 if there was none.
   * @param reason Why, if it was said.
   * @param retryAfter Seconds the server asked to wait, outside the stream.
   * @param anotherToken Whether another token would say more than the one that was refused;
   *   it is tried once, whatever the server advises.
   */
  closed(code: number, reason = '', retryAfter = 0, anotherToken = false): void {
    this.#ledger.owed.lost();
    const closing = anotherToken ? undefined : this.#advice;
    const told = advice(anotherToken ? CloseCode.UNAUTHORIZED : code);
    let { reconnect } = told;
    if (closing) {
      retryAfter = Math.max(retryAfter, closing.retry_after);
      reconnect &&= closing.reconnect;
    }
    if (told.newToken) {
      this.#refusedTokens += 1;
      reconnect &&= this.#refusedTokens < 2;
    }
    reason ||= told.meaning;
    if (this.#stopping) this.#stop(undefined);
    else if (!reconnect) this.#stop(new StreamClosed(code, reason, this.#error));
    else this.#wait(code, reason, retryAfter, told.newToken);
  }

  #wait(code: number, reason: string, retryAfter: number, newToken: boolean): void {
    let delay = 0;
    if (!this.#reopening) {
      const limit = Math.min(BACKOFF_CAP, BACKOFF_BASE * 2 ** Math.min(this.#attempts, 10));
      delay = retryAfter + this.#random() * limit;
      this.#attempts += 1;
    }
    this.#reopening = false;
    this.#out.push({ do: 'connect', delay, newToken });
    this.#tell({ ...stands('waiting'), retryIn: delay, code, reason });
  }

  #stop(error: StreamClosed | undefined): void {
    this.#flush();
    this.#out.push({ do: 'stop', error });
    this.#tell({
      ...stands('stopped'),
      ...(error && { code: error.code, reason: error.message }),
    });
  }

  /** Takes note of any sign of life: frames, and what keeps a connection open. */
  heard(now: number): void {
    if (now > this.#heard) {
      this.#heard = now;
      this.#pinged = false;
    }
  }

  /** Looks at the clock; about once a second is right. */
  tick(now: number): void {
    this.#acksWait = false;
    const silent = now - this.#heard;
    if (this.status.phase === 'opening' && silent > WELCOME_TIMEOUT) {
      this.#close(CloseCode.TIMEOUT, 'The server did not answer the hello.');
    }
    if (!this.#open) return;
    if (this.#stopping) {
      this.#patience -= 1;
      if (this.#patience < 0) this.#close(CloseCode.NORMAL);
      return;
    }
    this.#saySeen();
    if (silent > 2 * this.#pingInterval) {
      this.#close(CloseCode.TIMEOUT, 'The server is silent.');
    } else if (silent > 1.5 * this.#pingInterval && !this.#pinged) {
      this.#pinged = true;
      this.#out.push({ do: 'send', frame: { type: 'ping' } });
    }
  }

  /** Connects anew, to be sent again what was not handled. */
  reopen(): void {
    if (this.#open) {
      this.#reopening = true;
      this.#close(CloseCode.NORMAL);
    }
  }

  /** Ends the conversation, after what is owed was said and confirmed. */
  stop(): void {
    this.#stopping = true;
    const { phase } = this.status;
    if (this.#open) {
      this.#flush();
      this.#closeWhenSettled();
    } else if (phase === 'opening') this.#close(CloseCode.NORMAL);
    else if (phase !== 'closing' && phase !== 'stopped') this.#stop(undefined);
  }

  #closeWhenSettled(): void {
    if (this.#ledger.owed.settled) this.#close(CloseCode.NORMAL);
  }

  #close(code: number, reason = ''): void {
    this.#out.push({ do: 'close', code, reason });
    this.status = stands('closing');
  }

  get #open(): boolean {
    return this.status.phase === 'catching up' || this.status.phase === 'live';
  }

  #tell(status: Status): void {
    this.status = status;
    this.#out.push({ do: 'tell', status });
  }

  // --- what the server says ------------------------------------------------------------

  /** Takes a frame of the server; one of a type from the future is ignored. */
  frame(json: string, now: number): void {
    this.heard(now);
    try {
      const frame = decodeServerFrame(json);
      if (frame) this.#take(frame);
    } catch (error) {
      if (!(error instanceof PushdError)) throw error;
      if (this.status.phase !== 'closing') {
        // What its ids mean is in doubt now, and a replay is right in any doubt.
        this.#ledger.restart();
        this.#close(CloseCode.PROTOCOL_ERROR, 'The server broke the protocol.');
      }
    }
  }

  #take(frame: ServerFrame): void {
    if (frame.type === 'acked') {
      this.#ledger.owed.confirmed(frame.ref);
      if (this.#stopping && this.#open) this.#closeWhenSettled();
    } else if (this.status.phase !== 'closing' && !this.#stopping) this.#follow(frame);
  }

  #follow(frame: ServerFrame): void {
    switch (frame.type) {
      case 'messages':
        return this.#messages(frame);
      case 'welcome':
        return this.#welcome(frame);
      case 'caught_up':
        this.#attempts = 0;
        this.#ledger.caughtUp(Cursor.parse(frame.cursor));
        return this.#tell({ ...this.status, phase: 'live' });
      case 'replay':
        this.#ledger.restart();
        return this.#tell({ ...stands('catching up'), unread: frame.unread });
      case 'read': {
        const { type, ...read } = frame;
        this.#ledger.gone(read);
        this.#out.push({ do: 'tell', read });
        return;
      }
      case 'overflow': {
        const { type, ...overflow } = frame;
        this.#out.push({ do: 'tell', overflow });
        return;
      }
      case 'expiring':
        this.#out.push({ do: 'make token' });
        return;
      case 'error':
        return this.#refused(frame);
      case 'closing':
        this.#advice = frame;
    }
  }

  #welcome(frame: FrameOf<'welcome'>): void {
    if (frame.continuity === 'replay') this.#ledger.restart();
    this.#pingInterval = frame.ping_interval;
    this.#window = frame.window;
    this.#refusedTokens = 0;
    this.#tell({ ...stands('catching up'), unread: frame.unread });
  }

  #messages(frame: FrameOf<'messages'>): void {
    this.#attempts = 0;
    const { epoch } = Cursor.parse(frame.cursor);
    for (const given of frame.messages) {
      const message = messageShape(given, 'messages');
      const id = MessageId.parse(message.id);
      if (this.#ledger.arrived(id, epoch)) this.#out.push({ do: 'dispatch', id, message });
      this.#arrived = id;
      this.#unseen += 1;
    }
    if (this.status.phase === 'catching up') {
      const received = this.status.received + frame.messages.length;
      this.#tell({ ...this.status, received });
    }
  }

  /** Takes an error: of an ack, which is tried again later, or of the session. */
  #refused(frame: FrameOf<'error'>): void {
    if (frame.ref !== undefined) {
      this.#acksWait = this.#ledger.owed.refused(frame.ref) || this.#acksWait;
      return;
    }
    this.#error = new PushdError(frame.code, frame.detail);
    if (this.#error.status === 401) this.serverTime = frame.now;
  }

  // --- what the listeners say ----------------------------------------------------------

  /** Takes that a message is safe with the app: it is acked. */
  handled(id: MessageId): void {
    this.#ledger.handled(id);
  }

  /** Takes that the listeners are done, and the app acks later by `handled`. */
  held(id: MessageId): void {
    this.#ledger.held(id);
  }

  /** Takes that nobody handled a message: it stays unread, and comes again. */
  failed(id: MessageId): void {
    this.#ledger.failed(id);
  }

  #flush(): void {
    if (this.#open) {
      this.#sayAcks();
      if (this.#unseen >= Math.max(1, Math.floor(this.#window / 4))) this.#saySeen();
    }
    this.#save();
  }

  #sayAcks(): void {
    const { owed, cursor } = this.#ledger;
    if (!owed.due || this.#acksWait) return;
    if (this.#arrived && owed.ids.has(`${this.#arrived}`)) this.#unseen = 0;
    for (const frame of owed.frames(cursor)) this.#out.push({ do: 'send', frame });
  }

  /** Opens the window for more, unless the listeners have enough to do. */
  #saySeen(): void {
    if (this.#unseen && this.#ledger.running < this.#window) {
      this.#unseen = 0;
      this.#out.push({ do: 'send', frame: { type: 'seen', upto: `${this.#arrived}` } });
    }
  }

  #save(): void {
    const { owed, cursor } = this.#ledger;
    if (owed.changed || `${cursor}` !== this.#saved) {
      owed.changed = false;
      this.#saved = `${cursor}`;
      this.#out.push({ do: 'save', progress: this.#ledger.progress() });
    }
  }
}

function stands(phase: Phase): Status {
  return { phase, unread: 0, received: 0, reason: '' };
}
