/**
 * The servers an identity listens at: its own, and for a while those it left.
 *
 * Who sends may remember for an hour where somebody was to be found, and may have to try for
 * a while. So a server is left only when that time is over and nothing is there any more;
 * until then a change of servers loses nothing.
 */

import type { Clock } from './clock.ts';
import type { Receiver } from './receiver.ts';

/** Seconds to go on listening at a server that was left. */
const OVERLAP = 7200;
/** Seconds after which all that was sent there in time has expired. */
const FORGOTTEN = 30 * 86_400;

/** A receiver as this needs it. */
type Running = Pick<Receiver<never>, 'start' | 'stop' | 'pause' | 'resume' | 'empty' | 'state'>;

/** Keeps a receiver running at each server. */
export class Servers {
  /** The identity's servers in order of preference, by their canonical URLs. */
  own: string[] = [];
  /** Servers that are no longer its own, and since when, in Unix seconds. */
  left: Record<string, number> = {};
  readonly #make: (server: string) => Running;
  readonly #clock: Clock;
  readonly #receivers = new Map<string, Running>();
  #stopped: Promise<unknown> | undefined;

  constructor(make: (server: string) => Running, clock: Clock) {
    this.#make = make;
    this.#clock = clock;
  }

  /**
   * Listens, also where the identity was before.
   *
   * @param before Which servers it had when it listened last.
   * @param left Servers it had left by then, and since when.
   */
  begin(own: string[], before: string[], left: Record<string, number>): void {
    this.own = before;
    this.left = { ...left };
    this.moveTo(own);
    for (const server of Object.keys(this.left)) this.#listen(server);
  }

  /** Listens at these from now on; at those that are not among them, for a while. */
  moveTo(servers: string[]): void {
    const before = this.own;
    this.own = servers;
    for (const server of servers) {
      delete this.left[server];
      this.#listen(server);
    }
    for (const server of before) {
      if (!servers.includes(server)) this.left[server] = this.#clock();
    }
  }

  /** Stops listening where it is time to; tells whether there was any. */
  async leave(): Promise<boolean> {
    const over = Object.keys(this.left).filter(server => this.#isOver(server));
    for (const server of over) delete this.left[server];
    await this.#stop(over);
    return over.length > 0;
  }

  #isOver(server: string): boolean {
    const passed = this.#clock() - (this.left[server] ?? 0);
    const receiver = this.#receivers.get(server);
    const done = !receiver || receiver.empty || receiver.state.is === 'closed';
    return passed >= FORGOTTEN || (passed >= OVERLAP && done);
  }

  pause(): void {
    for (const receiver of this.#receivers.values()) receiver.pause();
  }

  resume(): void {
    for (const receiver of this.#receivers.values()) receiver.resume();
  }

  /** Lets all listeners finish, and closes every connection. */
  stop(): Promise<unknown> {
    return this.#stop([...this.#receivers.keys()]);
  }

  /** Stops listening; who moves back meanwhile listens anew. */
  #stop(servers: string[]): Promise<unknown> {
    const stopped = servers.map(server => this.#receivers.get(server)?.stop());
    for (const server of servers) this.#receivers.delete(server);
    this.#stopped = Promise.all([this.#stopped, ...stopped]);
    return this.#stopped;
  }

  #listen(server: string): void {
    const there = this.#receivers.get(server);
    if (there && there.state.is !== 'closed') return;
    const receiver = this.#make(server);
    this.#receivers.set(server, receiver);
    void receiver.start();
  }
}
