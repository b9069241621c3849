// The app of one user: what the packages do for it, and a client of pushd without a library.
'use strict';

const { randomUUID } = require('node:crypto');

/** Makes the app of a user whom a wallet gave an app key and a hub. */
exports.makeUser = (packages, options) => {
  const { session, storage } = packages.makeSession(options);
  const publicKey = packages.getPublicKeyFromPrivate(options.appPrivateKey);
  const address = packages.publicKeyToAddress(publicKey);
  const did = packages.makeDIDFromAddress(address);

  const sign = claims => new packages.TokenSigner('ES256K', options.appPrivateKey).sign(claims);

  async function listFiles() {
    const names = [];
    await storage.listFiles(name => names.push(name) > 0);
    return names;
  }

  /** Signs a token of a message server, with `claims` beside those that all have. */
  function token(server, claims) {
    const now = Math.floor(Date.now() / 1000);
    const common = { iss: did, public_keys: [publicKey], aud: server, jti: randomUUID() };
    return sign({ ...common, iat: now, exp: now + 600, ...claims });
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

  return {
    publicKey,
    address,
    did,
    sign,
    encryptContent: session.encryptContent.bind(session),
    decryptContent: session.decryptContent.bind(session),
    putFile: storage.putFile.bind(storage),
    getFile: storage.getFile.bind(storage),
    deleteFile: storage.deleteFile.bind(storage),
    listFiles,
    token,
    deliver: (server, to, payload) =>
      request(server, '/v1/deliveries', { scope: 'deliver', to }, { to, payload }),
    messages: server => request(server, '/v1/messages', { scope: 'receive' }),
    ack: (server, ids) => request(server, '/v1/acks', { scope: 'receive' }, { ids }),
  };
};
