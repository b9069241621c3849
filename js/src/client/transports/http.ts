/** What the two ways without a websocket share: the hello as a request, acks as requests. */

import * as CloseCode from '../../protocol/codes.ts';
import { MessageId } from '../../protocol/ids.ts';
import { type Ack, type ClientFrame, type Hello, problem } from '../../protocol/messages.ts';
import { integer, read, record, type Shape } from '../../protocol/shape.ts';
import { type Connection, type Peer, say } from './connection.ts';

/** Seconds a request may take beyond what it is asked to wait. */
const PATIENCE = 20;

/** What a refused request says in close codes; any other is a connection that failed. */
const CODES: Record<number, number> = {
  400: CloseCode.PROTOCOL_ERROR,
  401: CloseCode.UNAUTHORIZED,
  403: CloseCode.FORBIDDEN,
  429: CloseCode.TOO_MANY_SESSIONS,
  503: CloseCode.OVERLOADED,
};

const removed = record({ removed: integer });

/** A refusal of the server, which ends the connection. */
class Refused extends Error {
  readonly code: number;
  readonly retryAfter: number;

  constructor(code: number, retryAfter: number) {
    super('The server refuses.');
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

interface Asked {
  headers?: Record<string, string>;
  body?: string;
  /** How long the server may wait. */
  seconds?: number;
}

/** A connection over HTTP: how it listens, those who extend it say. */
export abstract class HttpConnection implements Connection {
  protected readonly server: string;
  protected readonly peer: Peer;
  protected token = '';
  #awaited: { id: MessageId; taken: () => void } | undefined;
  readonly #requests = new Set<AbortController>();
  #over = false;

  constructor(server: string, peer: Peer) {
    this.server = server;
    this.peer = peer;
  }

  /** Listens until the end; what it throws is the end. */
  protected abstract listen(hello: Hello): Promise<void>;
  /** Learns that the token changed. */
  protected renewed(): void {}
  /** Learns what the client acks. */
  protected acking(_body: string): void {}

  /** Waits until the client took a message off the wire, so that a slow app is not flooded. */
  protected taken(id: MessageId): Promise<void> {
    return new Promise(taken => (this.#awaited = { id, taken }));
  }

  #seen(upto: string): void {
    const awaited = this.#awaited;
    if (awaited && MessageId.parse(upto).covers(awaited.id)) awaited.taken();
  }

  send(frame: ClientFrame): void {
    if (frame.type === 'hello') {
      this.token = frame.token ?? '';
      this.listen(frame).then(
        () => this.#closed(CloseCode.ABNORMAL, 'The connection was lost.'),
        error => this.#failed(error),
      );
    } else if (frame.type === 'renew') {
      this.token = frame.token;
      this.renewed();
    } else if (frame.type === 'seen') this.#seen(frame.upto);
    else if (frame.type === 'ack') void this.#ack(frame);
  }

  close(code: number, reason: string): void {
    this.#closed(code, reason);
  }

  #closed(code: number, reason: string, retryAfter = 0): void {
    if (this.#over) return;
    this.#over = true;
    for (const request of this.#requests) request.abort();
    this.peer.closed(code, reason, retryAfter);
  }

  #failed(error: unknown): void {
    if (error instanceof Refused) this.#closed(error.code, '', error.retryAfter);
    else this.#closed(CloseCode.ABNORMAL, 'The server does not answer.');
  }

  async #ack({ ref = 0, type, ...body }: Ack): Promise<void> {
    for (const id of body.ids ?? [body.upto ?? '']) this.#seen(id);
    const json = JSON.stringify(body);
    this.acking(json);
    try {
      const answer = await this.ask('/v1/acks', removed, { body: json });
      if (!this.#over) say(this.peer, { type: 'acked', ref, removed: answer.removed });
    } catch {
      // As over a stream: it is owed again, and said again later.
      const told = { code: 'store_unavailable', detail: 'The ack failed.', now: 0 };
      if (!this.#over) say(this.peer, { type: 'error', ref, ...told });
    }
  }

  /** Asks for JSON of a shape. */
  protected ask<T>(path: string, shape: Shape<T>, asked: Asked = {}): Promise<T> {
    return this.request(path, asked, async response =>
      read(await response.text(), shape, 'The answer'),
    );
  }

  /**
   * Asks the server, and throws what it refuses.
   *
   * @param use Takes the answer, and a function that ends the limit on its time.
   */
  protected async request<T>(
    path: string,
    { headers = {}, body, seconds = 0 }: Asked,
    use: (response: Response, takeTime: () => void) => Promise<T>,
  ): Promise<T> {
    const ending = new AbortController();
    const end = () => ending.abort();
    const timer = setTimeout(end, (PATIENCE + seconds) * 1000);
    this.#requests.add(ending);
    if (this.#over) end();
    try {
      const response = await fetch(this.server + path, {
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          Authorization: `Bearer ${this.token}`,
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body }),
        credentials: 'omit',
        cache: 'no-store',
        redirect: 'error',
        referrerPolicy: 'no-referrer',
        signal: ending.signal,
      });
      if (!response.ok) throw await this.#refused(response);
      return await use(response, () => clearTimeout(timer));
    } finally {
      clearTimeout(timer);
      this.#requests.delete(ending);
    }
  }

  async #refused(response: Response): Promise<Refused> {
    const { status } = response;
    let retryAfter = Number(response.headers.get('Retry-After')) || 0;
    try {
      const told = read(await response.text(), problem, 'The problem');
      retryAfter = told.retry_after ?? retryAfter;
      const { code, detail = '', now = 0 } = told;
      say(this.peer, { type: 'error', code, detail, now: Math.floor(now) });
    } catch {
      // Not pushd, but what stands before it.
    }
    return new Refused(CODES[status] ?? CloseCode.ABNORMAL, retryAfter);
  }
}
