/**
 * Send: deliveries to one server, retried until they are accepted or refused for good.
 *
 * A retry can store nothing twice, as each delivery has a key. So whatever leaves in doubt
 * whether a delivery arrived is tried again: a connection that failed or broke, a time-out,
 * a server that is busy. What the server refuses for a reason is a `PushdError`.
 */

import { PushdError, Unreachable } from '../errors.ts';
import { randomText } from '../identity/bytes.ts';
import type { PrivateKey } from '../identity/keys.ts';
import { type Accepted, accepted, problem } from '../protocol/messages.ts';
import { read, type Shape } from '../protocol/shape.ts';
import { canonicalUrl, hostPort } from '../protocol/urls.ts';
import { type Answer, Fetcher, FetchFailed } from '../resolvers/fetcher.ts';
import { type Clock, Patience } from './clock.ts';
import { Credentials } from './credentials.ts';

/** Bytes of the longest answer. */
const MAX_ANSWER = 64 * 1024;
/** Statuses with which a proxy says that the server behind it does not answer. */
const GATEWAY = [502, 503, 504];

export interface SenderOptions {
  /**
   * The recipient's server, as the recipient's contact document or the app's settings name
   * it; tokens are valid there alone.
   */
  server: string;
  /** Name the sender claims. */
  name?: string | undefined;
  /** Web origin the name belongs to; needed with a name. */
  app?: string | undefined;
  /** Seconds all attempts of one call may take. */
  giveUpAfter?: number | undefined;
  /** Seconds a token is valid. */
  tokenLifetime?: number | undefined;
  /** The way out; without one the server is trusted as the app's own choice. */
  fetcher?: Fetcher | undefined;
  clock?: Clock | undefined;
}

export interface SendOptions {
  /** At most one delivery with this key is kept for this sender and recipient. */
  key?: string | undefined;
  /** Seconds until it expires; left out: the server's maximum. */
  ttl?: number | undefined;
  /** Seconds all attempts may take, if not as the sender was made. */
  giveUpAfter?: number | undefined;
}

/** Delivers for one identity to one server. */
export class Sender {
  /** Canonical URL of the server. */
  readonly server: string;
  readonly #credentials: Credentials;
  readonly #fetcher: Fetcher;
  readonly #giveUpAfter: number;

  constructor(key: PrivateKey, options: SenderOptions) {
    const { name, app, clock, giveUpAfter = 60, tokenLifetime: lifetime = 600 } = options;
    this.server = canonicalUrl(options.server);
    const audience = this.server;
    const scope = 'deliver';
    this.#credentials = new Credentials(key, { audience, scope, lifetime, name, app, clock });
    this.#fetcher = options.fetcher ?? new Fetcher([hostPort(this.server)]);
    this.#giveUpAfter = giveUpAfter;
  }

  /**
   * Delivers a payload, and returns once the server keeps it.
   *
   * @param to The recipient: a DID, or a name the server can resolve.
   * @param payload Opaque text, best encrypted to the recipient.
   */
  async send(to: string, payload: string, options: SendOptions = {}): Promise<Accepted> {
    const { key = randomText(), ttl, giveUpAfter = this.#giveUpAfter } = options;
    const body = JSON.stringify({ to, payload, key, ttl });
    const patience = new Patience(giveUpAfter);
    for (;;) {
      const failure = await this.#attempt(to, body);
      if (!(failure instanceof Error)) return failure;
      const { retryAfter } = failure as PushdError;
      if (!passes(failure) || !(await patience.pause(retryAfter))) throw failure;
    }
  }

  async #attempt(to: string, body: string): Promise<Accepted | PushdError | Unreachable> {
    try {
      let answer = await this.#post(to, body);
      const now = answer.status === 401 ? readAs(answer, problem)?.now : undefined;
      // A refused token may be a matter of the clock.
      if (now !== undefined && this.#credentials.correct(now)) answer = await this.#post(to, body);
      return this.#meaning(answer);
    } catch (error) {
      if (!(error instanceof FetchFailed)) throw error;
      return new Unreachable(`${this.server} does not answer.`);
    }
  }

  #post(to: string, body: string): Promise<Answer> {
    const headers = {
      Authorization: `Bearer ${this.#credentials.token(to)}`,
      'Content-Type': 'application/json',
    };
    const asked = { method: 'POST', body, headers, cache: 'no-store' } as const;
    return this.#fetcher.ask(`${this.server}/v1/deliveries`, asked, MAX_ANSWER);
  }

  #meaning(answer: Answer): Accepted | PushdError | Unreachable {
    const { status } = answer;
    if (status >= 200 && status < 300) {
      const kept = readAs(answer, accepted);
      if (kept) return kept;
    }
    const told = readAs(answer, problem);
    if (!told) return new Unreachable(`${this.server} answers with ${status}.`, status);
    return new PushdError(told.code, told.detail, told.retry_after);
  }
}

/** Tells whether it is worth trying again. */
function passes(failure: PushdError | Unreachable): boolean {
  if (failure instanceof PushdError) return failure.status === 429 || failure.status === 503;
  return failure.status === undefined || GATEWAY.includes(failure.status);
}

/** Tells whether a server with which a delivery failed did not refuse it: try the next one. */
export function isUndecided(failure: PushdError | Unreachable): boolean {
  const { status } = failure;
  return status === undefined || status === 404 || GATEWAY.includes(status);
}

function readAs<T>(answer: Answer, shape: Shape<T>): T | undefined {
  try {
    return read(new TextDecoder().decode(answer.body), shape, 'The answer');
  } catch {
    return undefined;
  }
}
