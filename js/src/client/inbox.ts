/**
 * The inbox: what a server brings, opened, fetched, verified, and given a name.
 *
 * Theory of operation. The payload is decrypted and compared with what the server verified.
 * Then the app may decline the sender; until here nothing was fetched, so no stranger learns
 * when and from where their message is read. The letter is fetched from the sender's bucket,
 * verified and compared with the envelope. A name is shown only if this client itself finds
 * that it leads to the sender's key, within its own app: that somebody is Alice in another
 * app proves nothing here.
 *
 * What can be told apart is told apart. A bucket that does not answer is asked again, less
 * and less often, and meanwhile nothing else of it is tried. A letter that is not there, or
 * does not verify, stays unread, and the app is told.
 */

import { CannotOpen, PushdError, Unproven } from '../errors.ts';
import type { PrivateKey } from '../identity/keys.ts';
import { Recent } from '../protocol/recent.ts';
import type { Directory } from '../resolvers/directory.ts';
import { type Fetcher, FetchFailed, fetchText } from '../resolvers/fetcher.ts';
import { seconds } from './clock.ts';
import { type Envelope, openSealed } from './envelope.ts';
import type { Handled } from './handled.ts';
import { letterUrl, MAX_LETTER, openLetter } from './letter.ts';
import { NotYet, type Received } from './listeners.ts';

/** Seconds after which a bucket that did not answer is asked again; twice as many later. */
const AGAIN = 15;
/** Seconds between two attempts at the longest. */
const AGAIN_AT_MOST = 900;
/** Buckets that did not answer which are remembered. */
const BUCKETS = 1000;

/** Tells of a sender's DID whether to read on. */
export type Accept = (sender: string) => boolean | Promise<boolean>;

/** The message is not shown, and the name of the error says why. */
export class NotShown extends Error {
  constructor(name: 'NotAccepted' | 'NoLetter' | 'BucketUnreachable', sentence: string) {
    super(sentence);
    this.name = name;
  }
}

/** What was opened, as plain data, so that tabs can show it to each other. */
export interface Opened {
  id: string;
  /** The sender's name in this app, proven by this client. */
  name: string | undefined;
  bucket: string;
  app: string | undefined;
  at: number;
  content: string;
  contentType: string;
}

export interface InboxOptions {
  /** Web origin of the app. */
  app: string;
  /** Proves names. */
  directory: Directory;
  fetcher: Fetcher;
  handled: Handled;
  accept?: Accept | undefined;
}

/** Opens the messages of one identity. */
export class Inbox {
  readonly #key: PrivateKey;
  readonly #options: InboxOptions;
  readonly #silent = new Silent();

  constructor(key: PrivateKey, options: InboxOptions) {
    this.#key = key;
    this.#options = options;
  }

  /** Opens a message; throws what `Listeners.open` understands. */
  readonly open = async (message: Received<Opened>): Promise<Opened> => {
    const { app, accept, handled } = this.#options;
    const envelope = openSealed(message.payload, this.#key, message);
    if (envelope.app !== undefined && envelope.app !== app) {
      throw new CannotOpen('The message is of another app.');
    }
    handled.enter(message as Received<never>, envelope.id);
    if (accept && !(await accept(message.sender))) {
      throw new NotShown('NotAccepted', 'The app does not accept this sender.');
    }
    const letter = openLetter(await this.#fetch(envelope), this.#key, envelope);
    return {
      id: letter.id,
      name: await this.#provenName(message, envelope),
      bucket: envelope.bucket,
      app: letter.app,
      at: letter.at,
      content: letter.content,
      contentType: letter.contentType ?? 'text/plain',
    };
  };

  async #fetch(envelope: Envelope): Promise<string> {
    const { bucket } = envelope;
    const url = letterUrl(envelope);
    const away = new NotShown(
      'BucketUnreachable',
      "The sender's bucket does not answer; it is asked again.",
    );
    const wait = this.#silent.wait(bucket);
    if (wait) throw new NotYet(wait, away);
    let letter: string | undefined;
    try {
      letter = await fetchText(this.#options.fetcher, url, MAX_LETTER);
    } catch (error) {
      if (!(error instanceof FetchFailed)) throw error;
      throw new NotYet(this.#silent.failed(bucket), away);
    }
    this.#silent.answered(bucket);
    if (letter === undefined) {
      throw new NotShown('NoLetter', "The message is not in the sender's bucket.");
    }
    return letter;
  }

  /** Returns the name that the sender claims and has. */
  async #provenName(message: Received<Opened>, envelope: Envelope): Promise<string | undefined> {
    for (const name of new Set([message.name, envelope.name])) {
      if (name && (await this.#isOf(message.sender, name))) return name;
    }
    return undefined;
  }

  async #isOf(did: string, name: string): Promise<boolean> {
    const { directory, app } = this.#options;
    try {
      return (await directory.identify(name, app)).did === did;
    } catch (error) {
      if (!(error instanceof Unproven || error instanceof PushdError)) throw error;
      return false;
    }
  }
}

/** Buckets that do not answer, and when to ask them again. */
class Silent {
  readonly #until = new Recent<{ until: number; pause: number }>(BUCKETS);

  /** Returns seconds until a bucket may be asked; 0 for at once. */
  wait(bucket: string): number {
    return Math.max(0, (this.#until.get(bucket)?.until ?? 0) - seconds());
  }

  /** Notes that a bucket did not answer, and returns when to ask again, in seconds. */
  failed(bucket: string): number {
    const wait = this.wait(bucket);
    if (wait) return wait; // others failed at the same time
    const pause = Math.min(AGAIN_AT_MOST, 2 * (this.#until.get(bucket)?.pause ?? AGAIN / 2));
    this.#until.set(bucket, { until: seconds() + pause, pause });
    return pause;
  }

  /** Notes that a bucket is there. */
  answered(bucket: string): void {
    this.#until.delete(bucket);
  }
}
