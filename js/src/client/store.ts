/**
 * Where a client keeps what has to survive a reload: IndexedDB, localStorage, or nowhere.
 *
 * An app on React Native, or with a database, brings its own two methods. What is kept may
 * be late, but each value has to be whole: what was set before, or this.
 */

/** Keeps values that are JSON, by name. */
export interface Store {
  /** Returns what was set last, undefined if nothing was. */
  get(name: string): Promise<unknown>;
  /** Keeps this instead; undefined keeps nothing. */
  set(name: string, value: unknown): Promise<void>;
}

const NAME = 'pushd';

/** Keeps values as long as the page lives. */
export class MemoryStore implements Store {
  readonly #kept = new Map<string, string>();

  async get(name: string): Promise<unknown> {
    const text = this.#kept.get(name);
    return text === undefined ? undefined : JSON.parse(text);
  }

  async set(name: string, value: unknown): Promise<void> {
    if (value === undefined) this.#kept.delete(name);
    else this.#kept.set(name, JSON.stringify(value));
  }
}

/** Keeps values in localStorage, of which a browser gives a few megabytes. */
export class LocalStorageStore implements Store {
  async get(name: string): Promise<unknown> {
    const text = localStorage.getItem(`${NAME} ${name}`);
    return text === null ? undefined : JSON.parse(text);
  }

  async set(name: string, value: unknown): Promise<void> {
    if (value === undefined) localStorage.removeItem(`${NAME} ${name}`);
    else localStorage.setItem(`${NAME} ${name}`, JSON.stringify(value));
  }
}

/** Keeps values in IndexedDB. */
export class IndexedDbStore implements Store {
  #opened: Promise<IDBDatabase> | undefined;

  /** Opens the database; rejects where a browser has one and does not let it be used. */
  open(): Promise<IDBDatabase> {
    this.#opened ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(NAME);
      request.onsuccess = () => {
        // A browser may close it by itself; then it is opened anew.
        request.result.onclose = () => (this.#opened = undefined);
        resolve(request.result);
      };
      request.onerror = () => {
        this.#opened = undefined;
        reject(request.error);
      };
    });
    return this.#opened;
  }

  get(name: string): Promise<unknown> {
    return this.#ask('readonly', store => store.get(name));
  }

  async set(name: string, value: unknown): Promise<void> {
    await this.#ask('readwrite', store =>
      value === undefined ? store.delete(name) : store.put(value, name),
    );
  }

  async #ask(
    mode: IDBTransactionMode,
    work: (store: IDBObjectStore) => IDBRequest,
  ): Promise<unknown> {
    const transaction = (await this.open()).transaction(NAME, mode);
    const request = work(transaction.objectStore(NAME));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

/** Returns the best store there is here. */
export async function openStore(): Promise<Store> {
  try {
    const store = new IndexedDbStore();
    await store.open();
    return store;
  } catch {
    // Without IndexedDB, or in a window that may not use it.
  }
  try {
    localStorage.setItem(NAME, '');
    return new LocalStorageStore();
  } catch {
    return new MemoryStore();
  }
}
