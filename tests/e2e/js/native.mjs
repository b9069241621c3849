// Takes from Node what React Native lacks, before anything else runs: storage, tabs, Web
// Crypto but for random bytes, URLs with members, and answers that are read in pieces.

const { crypto, fetch, URL, WebSocket } = globalThis;

for (const name of ['indexedDB', 'localStorage', 'BroadcastChannel', 'navigator']) {
  delete globalThis[name];
}
const getRandomValues = bytes => crypto.getRandomValues(bytes);
Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues } });
Object.defineProperty(Response.prototype, 'body', { value: undefined });

class HalfUrl {
  constructor() {
    throw new Error('React Native has half of this.');
  }
}
globalThis.URL = HalfUrl;

/** Lets Node do what it does with the URL it has. */
function inNode(work) {
  globalThis.URL = URL;
  try {
    return work();
  } finally {
    globalThis.URL = HalfUrl;
  }
}
globalThis.fetch = (...asked) => inNode(() => fetch(...asked));
globalThis.WebSocket = class extends WebSocket {
  constructor(...asked) {
    inNode(() => super(...asked));
  }
};
