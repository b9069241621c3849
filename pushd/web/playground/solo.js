// The cast where there is no demo: two people whom the page makes up, for as long as it is open.
//
// A server knows neither names nor a bucket of theirs, so the message itself is what is sealed
// and delivered. Their keys leave the page never.

import { PrivateKey, Receiver, Sender, decrypt, encrypt, waysOf } from "./client.js";

/** Returns two made-up people at the server that serves this page. */
export function soloCast() {
  const server = location.origin;
  const [alice, bob] = [PrivateKey.generate(), PrivateKey.generate()];
  return {
    alice: () => new Writer(alice, bob, server),
    bob: { name: bob.did, address: bob.did, key: bob },
    device: (name) => new Device(bob, server, name),
    servers: [server],
  };
}

class Writer {
  #sender;
  #reader;

  constructor(key, reader, server) {
    this.name = key.did;
    this.#sender = new Sender(key, { server });
    this.#reader = reader;
  }

  async send(to, content) {
    return { accepted: await this.#sender.send(to, encrypt(content, this.#reader.public)) };
  }
}

/** A receiver in the words of a client. */
class Device {
  #receiver;

  constructor(key, server, device) {
    this.servers = [server];
    const open = ({ payload }) => decrypt(payload, key);
    const options = { server, device, open, ack: "manual", tabs: false, ways: waysOf({}) };
    this.#receiver = new Receiver(key, options);
  }

  listen(show) {
    this.#receiver.listen((received) => {
      const { content, name, sender, at } = received;
      show({ content, name, sender, at, received, ack: () => received.ack() });
    });
  }

  onRead(callback) {
    this.#receiver.onRead(callback);
  }

  onState(callback) {
    this.#receiver.onState((state) => callback(state, this.servers[0]));
  }

  onFrame(callback) {
    this.#receiver.onFrame(callback);
  }

  start() {
    this.#receiver.start();
  }

  pause() {
    this.#receiver.pause();
  }

  resume() {
    this.#receiver.resume();
  }
}
