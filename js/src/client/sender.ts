/**
 * Send: deliveries to one server, retried until they are accepted or refused for good.
 *
 * A retry can store nothing twice, as each delivery has a key. So whatever leaves in doubt
 * whether a delivery arrived is tried again: a connection that failed or broke, a time-out,
 * a server that is busy. What the server refuses for a reason is a `PushdError`.
 *
 * A refused token may be mended, and then is: by the clock of the server, or, where it takes
 * a delivery only with a token for its one body, by that.
 */

import { PushdError, Unreachable } from '../errors.ts';
import { randomText } from '../identity/bytes.ts';
import type { PrivateKey } from '../identity/keys.ts';
import { about, type Accepted, accepted, DIGEST_ONLY, problem } from '../protocol/messages.ts';
import { read, type Shape } from '../protocol/shape.ts';
import { canonicalUrl, placeOf } from '../protocol/urls.ts';
import { type Answer, Fetcher, FetchFailed } from '../resolvers/fetcher.ts';
import { type Clock, Patience } from './clock.ts';
import { Credentials } from './credentials.ts';

/** Bytes of the longest answer. */
const MAX_ANSWER = 64 * 1024;
/** How often a token is mended: it may be wrong in both ways, and in no third. */
const MENDED = 2;
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
  #digestOnly = false;

  constructor(key: PrivateKey, options: SenderOptions) {
    const { name, app, clock, giveUpAfter = 60, tokenLifetime: lifetime = 600 } = options;
    this.server = canonicalUrl(options.server);
    const audience = this.server;
    const scope = 'deliver';
    this.#credentials = new Credentials(key, { audience, scope, lifetime, name, app, clock });
    this.#fetcher = options.fetcher ?? new Fetcher([placeOf(this.server).hostPort]);
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
      return this.#meaning(await this.#ask(to, body));
    } catch (error) {
      if (!(error instanceof FetchFailed)) throw error;
      return new Unreachable(`${this.server} does not answer.`);
    }
  }

  async #ask(to: string, body: string): Promise<Answer> {
    for (let mended = 0; ; mended++) {
      const once = this.#digestOnly;
      const answer = await this.#post(to, body, once);
      const isFinal = answer.status !== 401 || mended === MENDED;
      if (isFinal || !(await this.#mend(answer, once))) return answer;
    }
  }

  #post(to: string, body: string, once: boolean): Promise<Answer> {
    const credentials = this.#credentials;
    const token = once ? credentials.tokenOnce(to, body) : credentials.token(to);
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
    const asked = { method: 'POST', body, headers, cache: 'no-store' } as const;
    return this.#fetcher.ask(`${this.server}/v1/deliveries`, asked, MAX_ANSWER);
  }

  /** Tells whether another token than the refused one may be accepted. */
  async #mend(answer: Answer, once: boolean): Promise<boolean> {
    const now = readAs(answer, problem)?.now;
    if (now !== undefined && this.#credentials.correct(now)) return true;
    if (once) return false;
    this.#digestOnly ||= await this.#wantsDigests();
    return this.#digestOnly;
  }

  async #wantsDigests(): Promise<boolean> {
    const asked = { cache: 'no-store' } as const;
    const answer = await this.#fetcher.ask(`${this.server}/.well-known/pushd`, asked, MAX_ANSWER);
    return !!readAs(answer, about)?.features.includes(DIGEST_ONLY);
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
