// The smallest app that listens; a test looks at what it heard.

import { PrivateKey, Receiver, waysOf } from "./client.js";

window.heard = [];
window.state = {};

window.begin = (server, key) => {
  const receiver = new Receiver(PrivateKey.fromHex(key), { server, ways: waysOf({}) });
  receiver.listen((message) => window.heard.push(message.payload));
  receiver.onState((state) => (window.state = state));
  receiver.start();
};

// How long the page could not paint, and how much it holds, while it heard.
window.watch = () => {
  let last = performance.now();
  window.longestGap = 0;
  const tick = (now) => {
    window.longestGap = Math.max(window.longestGap, now - last);
    last = now;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
};

window.heldBytes = () => {
  window.gc();
  return performance.memory.usedJSHeapSize;
};

window.isReady = true;
