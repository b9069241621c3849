// A whole client of pushd as an app writes it: with the packages, `fetch`, and no library.
'use strict';

const { randomUUID } = require('node:crypto');

const CONTACT = '.well-known/messaging.json';

/** Makes the client of a user. */
exports.makeClient = (packages, user) => {
  const now = () => Math.floor(Date.now() / 1000);
  const didOf = key => packages.makeDIDFromAddress(packages.publicKeyToAddress(key));

  // --- a message server ----------------------------------------------------------------

  /** Signs a token of a message server, with `claims` beside those that all have. */
  function token(server, claims) {
    const common = { iss: user.did, public_keys: [user.publicKey], aud: server };
    const times = { iat: now(), exp: now() + 600, jti: randomUUID() };
    return user.sign({ ...common, ...times, ...claims });
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
  function publishContact(messagingServers, app) {
    const common = { publicKey: user.publicKey, messagingServers };
    const claims = { iss: user.did, public_keys: [user.publicKey], messagingServers, app };
    const document = { version: 1, ...common, token: user.sign({ ...claims, iat: now() }) };
    return user.putFile(CONTACT, JSON.stringify(document), {
      encrypt: false,
      contentType: 'application/json',
    });
  }

  /** Finds out how to write to the owner of a name: DID, key and message server. */
  async function reach(name, app, names) {
    const url = await packages.getUserAppFileUrl(CONTACT, name, app, names);
    const document = await (await fetch(url)).json();
    const claims = packages.decodeToken(document.token).payload;
    const [publicKey] = claims.public_keys;
    const inBucket = url.endsWith(`/${packages.publicKeyToAddress(publicKey)}/${CONTACT}`);
    if (!inBucket || claims.app !== app || !packages.verifyToken(document.token, publicKey)) {
      throw new Error('The contact document is not of the owner of the bucket.');
    }
    return { did: claims.iss, publicKey, server: claims.messagingServers[0] };
  }

  // --- messages ------------------------------------------------------------------------

  /** Stores a letter in the user's bucket, and returns the envelope that leads to it. */
  async function write(to, content, app) {
    const common = { v: 1, id: randomUUID(), from: user.did, to: to.did, app };
    const path = `messages/${common.id}`;
    const letter = JSON.stringify({ ...common, at: now(), content });
    const url = await user.putFile(path, letter, { encrypt: to.publicKey, sign: true });
    return { ...common, bucket: url.slice(0, -path.length) };
  }

  /** Writes to the owner of a name. */
  async function send(name, content, app, names) {
    const to = await reach(name, app, names);
    const envelope = JSON.stringify(await write(to, content, app));
    const payload = await user.encryptContent(envelope, { publicKey: to.publicKey });
    return deliver(to.server, to.did, payload);
  }

  /** Opens a message as it came: its envelope, then its letter. */
  async function open({ from, payload }) {
    const envelope = JSON.parse(await user.decryptContent(payload));
    const response = await fetch(`${envelope.bucket}messages/${envelope.id}`);
    const { cipherText, publicKey, signature } = await response.json();
    if (didOf(publicKey) !== from.did || !packages.verifyECDSA(cipherText, publicKey, signature)) {
      throw new Error('The letter is not signed by the sender.');
    }
    return JSON.parse(await user.decryptContent(cipherText));
  }

  /** Opens and acks all that is unread. */
  async function receive(server) {
    const unread = (await messages(server)).messages;
    const letters = await Promise.all(unread.map(open));
    if (unread.length) await ack(server, unread.map(message => message.id));
    return letters;
  }

  return { token, deliver, messages, ack, publishContact, reach, write, send, receive };
};
