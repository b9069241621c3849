/** What is remembered has an end: a map in which the newest push the oldest out. */

export class Recent<V> extends Map<string, V> {
  readonly #most: number;

  /** @param most How many there is room for. */
  constructor(most: number) {
    super();
    this.#most = most;
  }

  /** Puts a value at the end, also where there was one. */
  override set(name: string, value: V): this {
    this.delete(name);
    super.set(name, value);
    if (this.size > this.#most) this.delete(this.keys().next().value as string);
    return this;
  }
}
