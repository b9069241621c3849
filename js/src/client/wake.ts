/** What a page learns of its own life: online and offline, shown, frozen and thawed. */

/** What to do then; all quick. */
export interface Life {
  /** The page is shown again, or there is a network again. */
  awake(): void;
  /** There is no network. */
  offline(): void;
  /** The page is about to be frozen: it will not run, and its connections will break. */
  asleep(): void;
}

/** Watches a page's life, where there is a page; returns a function that ends it. */
export function watch(life: Life): () => void {
  const { document, addEventListener } = globalThis;
  if (!document || !addEventListener) return () => {};
  const ending = new AbortController();
  const on = (target: EventTarget, name: string, happen: (event: Event) => void) =>
    target.addEventListener(name, happen, { signal: ending.signal });
  const page = globalThis as unknown as EventTarget;
  on(page, 'online', () => life.awake());
  on(page, 'offline', () => life.offline());
  on(page, 'pageshow', () => life.awake());
  // A page that is kept to be shown again by the back button is frozen, too.
  on(page, 'pagehide', event => (event as PageTransitionEvent).persisted && life.asleep());
  on(document, 'freeze', () => life.asleep());
  on(document, 'resume', () => life.awake());
  on(document, 'visibilitychange', () => document.visibilityState === 'visible' && life.awake());
  return () => ending.abort();
}
