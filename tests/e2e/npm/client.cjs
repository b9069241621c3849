// A whole client of pushd as an app writes it: with the packages, `fetch`, and no library.
'use strict';

const { randomUUID } = require('node:crypto');

const CONTACT = '.well-known/messaging.json';

/**
 * Makes the client of a user, in the app of an origin.
 *
 * With a `name` the user claims it; `names` is where names are looked up.
 */
exports.makeClient = (packages, user, { origin, name, names }) => {
  const now = () => Math.floor(Date.now() / 1000);
  const didOf = key => packages.makeDIDFromAddress(packages.publicKeyToAddress(key));

  // --- a message server ----------------------------------------------------------------

  /** Signs a token of a message server, with `claims` beside those that all have. */
  function token(server, claims) {
    const who = { iss: user.did, public_keys: [user.publicKey], app: origin };
    const times = { iat: now(), exp: now() + 600, jti: randomUUID() };
    const claimed = name ? { sub: name } : {};
    return user.sign({ ...who, ...claimed, aud: server, ...times, ...claims });
  }

  async function request(server, path, claims, body) {
    const response = await fetch(`${server}${path}`, {
      method: body ? 'POST' : 'GET',
      headers: {
        Authorization: `Bearer ${token(server, claims)}`,
        'Content-Type': 'application/json',
      },
      body: body && JSON.stringify(body),
    });
    return { status: response.status, ...(await response.json()) };
  }

  const deliver = (server, to, payload) =>
    request(server, '/v1/deliveries', { scope: 'deliver', to }, { to, payload });
  const messages = server => request(server, '/v1/messages', { scope: 'receive' });
  const ack = (server, ids) => request(server, '/v1/acks', { scope: 'receive' }, { ids });

  // --- names ---------------------------------------------------------------------------

  /** Makes a contact document, and stores it where it is looked for. */
  function publish(messagingServers) {
    const who = { iss: user.did, public_keys: [user.publicKey], app: origin };
    const claims = { ...who, messagingServers, iat: now() };
    const plain = { version: 1, publicKey: user.publicKey, messagingServers };
    const document = JSON.stringify({ ...plain, token: user.sign(claims) });
    const options = { encrypt: false, contentType: 'application/json' };
    return user.putFile(CONTACT, document, options);
  }

  /** Finds out how to write to the owner of a name: DID, key and message server. */
  async function reach(whom) {
    const url = await packages.getUserAppFileUrl(CONTACT, whom, origin, names);
    const document = await (await fetch(url)).json();
    const claims = packages.decodeToken(document.token).payload;
    const [publicKey] = claims.public_keys;
    const inBucket = url.endsWith(`/${packages.publicKeyToAddress(publicKey)}/${CONTACT}`);
    const verified = inBucket && packages.verifyToken(document.token, publicKey);
    if (!verified || claims.app !== origin) {
      throw new Error('The contact document is not of the owner of the bucket.');
    }
    return { did: didOf(publicKey), publicKey, server: claims.messagingServers[0] };
  }

  // --- messages ------------------------------------------------------------------------

  /** Stores a letter in the user's bucket, and returns the envelope that leads to it. */
  async function write(to, content) {
    const common = { v: 1, id: randomUUID(), from: user.did, to: to.did, app: origin };
    const path = `messages/${common.id}`;
    const letter = JSON.stringify({ ...common, at: now(), content });
    const url = await user.putFile(path, letter, { encrypt: to.publicKey, sign: true });
    return { ...common, bucket: url.slice(0, -path.length) };
  }

  /** Writes to the owner of a name. */
  async function send(whom, content) {
    const to = await reach(whom);
    const envelope = JSON.stringify(await write(to, content));
    const payload = await user.encryptContent(envelope, { publicKey: to.publicKey });
    const accepted = await deliver(to.server, whom, payload);
    if (accepted.mailbox !== to.did) throw new Error('The server takes it for another.');
    return accepted;
  }

  /** Opens a message as it came: its envelope, then its letter. */
  async function open({ from, payload }) {
    const envelope = JSON.parse(await user.decryptContent(payload));
    const response = await fetch(`${envelope.bucket}messages/${envelope.id}`);
    const { cipherText, publicKey, signature } = await response.json();
    const verified = packages.verifyECDSA(cipherText, publicKey, signature);
    if (!verified || didOf(publicKey) !== from.did) {
      throw new Error('The letter is not signed by the sender.');
    }
    const letter = JSON.parse(await user.decryptContent(cipherText));
    if (letter.id !== envelope.id) throw new Error('The letter is another than was sent.');
    return { from, content: letter.content };
  }

  /** Opens and acks all that is unread. */
  async function receive(server) {
    const unread = (await messages(server)).messages;
    const letters = await Promise.all(unread.map(open));
    if (unread.length) await ack(server, unread.map(message => message.id));
    return letters;
  }

  return { token, deliver, messages, ack, publish, reach, write, send, receive };
};
