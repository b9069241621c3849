/**
 * Tabs: of all pages of one origin that listen for one mailbox, one leads.
 *
 * The leader has the connection. It is whoever holds the Web Lock of the mailbox; when its
 * page goes, the browser gives the lock to the next. They talk over a BroadcastChannel. Where
 * a system knows neither, as Node and React Native, each program leads for itself.
 */

/** What tabs say to each other is plain data. */
type Posted = Record<string, unknown>;

export class Tabs {
  readonly #name: string;
  readonly #locks: LockManager | undefined;
  #channel: BroadcastChannel | undefined;

  /**
   * @param name Of what is shared, the same in all tabs.
   * @param shared Whether to share at all.
   * @param told Takes what other tabs say.
   */
  constructor(name: string, shared: boolean, told: (posted: Posted) => void) {
    this.#name = `pushd ${name}`;
    const { navigator, BroadcastChannel } = globalThis;
    this.#locks = shared ? navigator?.locks : undefined;
    if (this.#locks && BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = event => told(event.data);
    }
  }

  /**
   * Does work as the leader, once no other tab is.
   *
   * @param over Gives up waiting for that; what is begun has to look at it by itself.
   */
  async lead<T>(over: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
    if (!this.#locks) return work();
    let begun = false;
    try {
      return await this.#locks.request(this.#name, { signal: over }, () => {
        begun = true;
        return work();
      });
    } catch (error) {
      if (begun || !over.aborted) throw error;
      return undefined;
    }
  }

  /** Says something to the other tabs. */
  post(posted: Posted): void {
    this.#channel?.postMessage(posted);
  }

  /** Says and hears no more. */
  close(): void {
    this.#channel?.close();
    this.#channel = undefined;
  }
}

const chains = new Map<string, Promise<unknown>>();

/** Does work while no other, in this tab or another, does any of the same name. */
export function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks;
  if (locks) return locks.request(`pushd ${name}`, work) as Promise<T>;
  const turn = (chains.get(name) ?? Promise.resolve()).then(work, work);
  chains.set(name, turn.catch(() => {}));
  return turn;
}
