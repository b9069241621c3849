/** What a client keeps across restarts, beside its cursors and its queue. */

import { list, number, object, optional, record, text } from '../protocol/shape.ts';
import type { Handled } from './handled.ts';
import type { Servers } from './servers.ts';
import type { Store } from './store.ts';

const kept = record({ servers: list(text), left: object, handled: list(text) });

/** Which servers an identity has, or left and since when. */
type Places = Pick<Servers, 'own' | 'left'>;

export class Kept {
  readonly #name: string;
  readonly #store: Store;
  readonly #handled: Handled;

  constructor(identity: string, store: Store, handled: Handled) {
    this.#name = `client ${identity}`;
    this.#store = store;
    this.#handled = handled;
  }

  /** Learns again what was handled, and returns the servers there were. */
  async recall(): Promise<Places> {
    try {
      const given = optional(kept)(await this.#store.get(this.#name), 'state');
      const { servers = [], left = {}, handled = [] } = given ?? {};
      this.#handled.recall(handled);
      for (const since of Object.values(left)) number(since, 'left');
      return { own: servers, left: left as Record<string, number> };
    } catch (error) {
      console.error('What was handled cannot be read:', (error as Error).name);
      return { own: [], left: {} };
    }
  }

  async save({ own: servers, left }: Places): Promise<void> {
    this.#handled.changed = false;
    try {
      await this.#store.set(this.#name, { servers, left, handled: this.#handled.marks });
    } catch (error) {
      console.error('What was handled is not saved:', (error as Error).name);
    }
  }
}
