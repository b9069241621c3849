/**
 * The outbox: a message to whoever a name leads to, stored first, then delivered.
 *
 * Theory of operation. The directory tells the recipient's key and servers. The letter is
 * stored in the sender's bucket before anything is delivered, so that whoever opens the
 * envelope finds it. Then the servers are tried in the recipient's order. The next one is
 * tried only where the one before cannot have wanted to refuse: it does not answer, is busy
 * for too long, or nobody has a mailbox there. What was remembered of the recipient may be
 * out of date; so the name is looked up once more where no server answers, or one knows no
 * such mailbox, or puts the delivery into another one than it is encrypted to.
 *
 * The delivery's key is the message's ID, and its payload is sealed once for each
 * recipient: however often it is tried, and at however many servers, a mailbox takes it once.
 */

import { NotReachable, PushdError, Unreachable } from '../errors.ts';
import { pushdServers } from '../identity/contact.ts';
import { type PrivateKey, PublicKey } from '../identity/keys.ts';
import { isName } from '../identity/names.ts';
import type { Accepted } from '../protocol/messages.ts';
import { Recent } from '../protocol/recent.ts';
import type { Directory } from '../resolvers/directory.ts';
import type { Fetcher } from '../resolvers/fetcher.ts';
import type { Clock } from './clock.ts';
import { seal } from './envelope.ts';
import type { Bucket } from './gaia.ts';
import { letterPath, sealLetter } from './letter.ts';
import { isUndecided, Sender } from './sender.ts';

/** Servers whose tokens are kept for the next message. */
const SENDERS = 100;
/** Seconds a server is tried at first where there are others. */
const BRIEFLY = 3;

/** Somebody to write to, by what the app itself knows of them. */
export interface Recipient {
  key: PublicKey;
  /** Their message servers in order of preference. */
  servers: string[];
}

/** A message on its way. */
export interface Sent {
  /** The message's ID, which is also the name of its letter. */
  id: string;
  /** Whom it is encrypted to. */
  did: string;
  /** Canonical URL of the server that keeps it for them. */
  server: string;
  /** Where it is kept there. */
  accepted: Accepted;
}

/** What is to be said, as it waits in the queue. */
export interface Draft {
  /** The message's ID. */
  id: string;
  /** A name, or the did:key of somebody at the sender's own servers. */
  to: string;
  content: string;
  /** Media type of the content; plain text if left out. */
  contentType?: string | undefined;
  /** Seconds until its delivery expires; left out: the server's maximum. */
  ttl?: number | undefined;
  /** Unix seconds when it was written. */
  at: number;
  /** What was sealed for whom, once it was: a retry sends the same. */
  parcel?: Parcel | undefined;
}

/** A message, sealed for one recipient. */
export interface Parcel {
  id: string;
  did: string;
  payload: string;
}

/** What was remembered of a recipient seems out of date. */
class Stale extends Error {
  readonly failure: Error | undefined;

  constructor(failure?: Error) {
    super();
    this.failure = failure;
  }
}

export interface OutboxOptions {
  app: string;
  bucket: Bucket;
  /** Finds recipients. */
  directory: Directory;
  fetcher: Fetcher;
  name: string | undefined;
  /** The sender's own servers, at which a recipient is expected who is known by a key. */
  servers: () => string[];
  /** Seconds a server that is away or busy is tried. */
  giveUpAfter: number;
  clock: Clock;
}

/** Sends the messages of one identity. */
export class Outbox {
  readonly #key: PrivateKey;
  readonly #options: OutboxOptions;
  readonly #senders = new Recent<Sender>(SENDERS);

  constructor(key: PrivateKey, options: OutboxOptions) {
    this.#key = key;
    this.#options = options;
  }

  /**
   * Stores a message, and delivers what leads to it.
   *
   * @param keep Keeps the draft with what was sealed, before any of it is sent.
   */
  async send(draft: Draft, keep: (draft: Draft) => Promise<void>): Promise<Sent> {
    const { to } = draft;
    if (!isName(to)) {
      const recipient = this.#knownByKey(to);
      return this.#deliver(await this.#pack(recipient, draft, keep), recipient, draft, false);
    }
    const recipient = await this.#reach(to);
    try {
      return await this.#deliver(await this.#pack(recipient, draft, keep), recipient, draft, true);
    } catch (stale) {
      if (!(stale instanceof Stale)) throw stale;
      this.#options.directory.forget(to, this.#options.app);
      const again = await this.#reach(to);
      if (stale.failure && isSame(again, recipient)) throw stale.failure;
      return this.#deliver(await this.#pack(again, draft, keep), again, draft, false);
    }
  }

  // --- to whom -------------------------------------------------------------------------

  async #reach(name: string): Promise<Recipient> {
    const { key, servers } = await this.#options.directory.reach(name, this.#options.app);
    if (!key) throw new NotReachable(`${name} has not published a key to encrypt to.`);
    return { key, servers };
  }

  #knownByKey(did: string): Recipient {
    try {
      return { key: PublicKey.fromDid(did), servers: this.#options.servers() };
    } catch {
      throw new NotReachable(`${did} alone does not tell a key, nor where to send.`);
    }
  }

  #usable({ key, servers }: Recipient): string[] {
    const usable = pushdServers(servers, this.#options.fetcher.plain);
    if (!usable.length) throw new NotReachable(`${key.did} lists no server to be used from here.`);
    return usable;
  }

  // --- what is said --------------------------------------------------------------------

  /** Seals a message for a recipient, and stores it; what was sealed before stays. */
  async #pack(
    recipient: Recipient,
    draft: Draft,
    keep: (draft: Draft) => Promise<void>,
  ): Promise<Parcel> {
    this.#usable(recipient);
    const { did } = recipient.key;
    if (draft.parcel?.did === did) return draft.parcel;
    // Another key: another letter, and another payload needs a key of its own.
    const id = draft.parcel ? `${draft.parcel.id}-2` : draft.id;
    const { app, name, bucket } = this.#options;
    const who = { id, from: this.#key.did, to: did, app };
    const { at, content, contentType } = draft;
    const letter = { ...who, at, content, ...(contentType && { contentType }) };
    const sealed = sealLetter(letter, recipient.key, this.#key);
    const envelope = { ...who, bucket: await bucket.url(), ...(name && { name }) };
    const parcel = { id, did, payload: seal(envelope, recipient.key) };
    await bucket.store(letterPath(id), sealed, 'application/json');
    draft.parcel = parcel;
    await keep(draft);
    return parcel;
  }

  // --- the way -------------------------------------------------------------------------

  /**
   * Delivers to the first server that keeps it.
   *
   * @param remembered Whether the recipient may have moved meanwhile; then it may throw
   *   `Stale`.
   */
  async #deliver(
    parcel: Parcel,
    recipient: Recipient,
    { to: name, ttl }: Draft,
    remembered: boolean,
  ): Promise<Sent> {
    const { id, did, payload } = parcel;
    const to = isName(name) ? name : did;
    let failure: PushdError | Unreachable | undefined;
    for (const [server, giveUpAfter] of this.#rounds(this.#usable(recipient))) {
      try {
        const accepted = await this.#sender(server).send(to, payload, { key: id, ttl, giveUpAfter });
        if (accepted.mailbox === did) return { id, did, server, accepted };
      } catch (error) {
        if (!(error instanceof PushdError || error instanceof Unreachable)) throw error;
        if (remembered && error.status === 404) throw new Stale();
        if (!isUndecided(error)) throw error;
        failure = error;
        continue;
      }
      if (remembered) throw new Stale();
      throw new NotReachable(`${server} takes ${to} for another than is found here.`);
    }
    throw remembered ? new Stale(failure) : failure;
  }

  /**
   * Returns which servers to try, and how many seconds each: one that is away does not keep
   * the next one waiting, it gets the rest of its time when all were tried.
   */
  #rounds(servers: string[]): [string, number][] {
    const rounds = [this.#options.giveUpAfter];
    if (servers.length > 1 && this.#options.giveUpAfter > BRIEFLY) rounds.unshift(BRIEFLY);
    return rounds.flatMap(seconds => servers.map((one): [string, number] => [one, seconds]));
  }

  #sender(server: string): Sender {
    const { name, app, fetcher, clock } = this.#options;
    const sender =
      this.#senders.get(server) ?? new Sender(this.#key, { server, name, app, fetcher, clock });
    this.#senders.set(server, sender);
    return sender;
  }
}

const isSame = (one: Recipient, other: Recipient) =>
  one.key.hex === other.key.hex && `${one.servers}` === `${other.servers}`;
