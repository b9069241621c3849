/** Tokens of one key for one server, made when needed and kept while they last. */

import { randomText } from '../identity/bytes.ts';
import type { PrivateKey } from '../identity/keys.ts';
import { digestOf, makeToken } from '../identity/tokens.ts';
import { Recent } from '../protocol/recent.ts';
import { type Clock, unixSeconds } from './clock.ts';

/** Tokens that are kept, each for one set of recipients. */
const CACHED = 1000;
/** Seconds a token for one request is valid, at most. */
const ONCE = 60;
/** Seconds by which two clocks may differ before it is worth correcting. */
const SKEW = 5;

/** What the tokens are for. */
export interface CredentialsOptions {
  /** The server's canonical URL, from the app's own settings. */
  audience: string;
  scope: 'deliver' | 'receive';
  /** Seconds they are valid. */
  lifetime: number;
  /**
   * Name the identity claims. Who delivers always claims it; who receives needs no name, so
   * claims it only when asked, see `claimName`.
   */
  name?: string | undefined;
  /** Web origin the name belongs to. */
  app?: string | undefined;
  clock?: Clock | undefined;
}

/** Makes the tokens of an identity. */
export class Credentials {
  readonly #key: PrivateKey;
  readonly #options: CredentialsOptions;
  readonly #clock: Clock;
  #offset = 0;
  #claiming = false;
  #claimed = false;
  readonly #made = new Recent<{ token: string; expires: number }>(CACHED);

  constructor(key: PrivateKey, options: CredentialsOptions) {
    this.#key = key;
    this.#options = options;
    this.#clock = options.clock ?? unixSeconds;
  }

  /**
   * Returns a token that lasts a while.
   *
   * @param to The recipient, for a token to deliver.
   * @param isNew Make one that was never used.
   */
  token(to = '', isNew = false): string {
    const { lifetime } = this.#options;
    const now = this.#clock() + this.#offset;
    this.#claimed = this.#claiming;
    this.#claiming = false;
    if (this.#claimed) return this.#make(to, now); // for once: names may be hard to prove
    let made = isNew ? undefined : this.#made.get(to);
    if (!made || made.expires - now < Math.min(60, lifetime / 4)) {
      made = { token: this.#make(to, now), expires: now + lifetime };
    }
    this.#made.set(to, made);
    return made.token;
  }

  /** Returns a token to deliver this body to this recipient, and no other. */
  tokenOnce(to: string, body: string): string {
    return this.#make(to, this.#clock() + this.#offset, digestOf(body));
  }

  #make(to: string, now: number, digest?: string): string {
    const { audience, scope, lifetime, name, app } = this.#options;
    const claims = this.#claimed || scope === 'deliver';
    return makeToken(this.#key, {
      audience,
      scope,
      now,
      lifetime: digest ? Math.min(ONCE, lifetime) : lifetime,
      jti: randomText(),
      to: to || undefined,
      digest,
      name: claims ? name : undefined,
      app: claims ? app : undefined,
    });
  }

  /**
   * Lets the next token claim the name, as the last was refused without it: a server may
   * open a mailbox only for those whose documents, found by their name, say that it is
   * theirs. Tells whether there is a name, and the last token did not claim it.
   */
  claimName(): boolean {
    this.#claiming = this.#options.name !== undefined && !this.#claimed;
    return this.#claiming;
  }

  /**
   * Takes the server's clock (Unix seconds), after it refused a token; tells whether that
   * changes anything, so that a new token may be accepted.
   */
  correct(now: number): boolean {
    const offset = now - this.#clock();
    if (Math.abs(offset - this.#offset) <= SKEW) return false;
    this.#offset = offset;
    this.#made.clear();
    return true;
  }
}
