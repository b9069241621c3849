// `blockstack` 21 with the `jsontokens` 3 it brings, in the form `app.cjs` calls.
'use strict';

// Its fetch passes a referrer that node's own refuses; without that one it brings another.
delete globalThis.fetch;

const { createRequire } = require('node:module');
const blockstack = require('blockstack');
const { verifyECDSA } = require('blockstack/lib/encryption');
const requireItsOwn = createRequire(require.resolve('blockstack'));
const { TokenSigner, TokenVerifier } = requireItsOwn('jsontokens');

/** Makes the session of a user who is signed in; it is the user's storage, too. */
exports.makeSession = ({ appPrivateKey, hubUrl, origin }) => {
  const session = new blockstack.UserSession({
    appConfig: new blockstack.AppConfig(['store_write', 'publish_data'], origin),
    sessionOptions: { userData: { appPrivateKey, hubUrl } },
  });
  return { session, storage: session };
};

exports.TokenSigner = TokenSigner;
exports.verifyToken = (token, publicKey) =>
  new TokenVerifier('ES256K', publicKey).verify(token);
exports.decodeToken = blockstack.decodeToken;
exports.verifyECDSA = verifyECDSA;
exports.getPublicKeyFromPrivate = blockstack.getPublicKeyFromPrivate;
exports.publicKeyToAddress = blockstack.publicKeyToAddress;
exports.makeDIDFromAddress = blockstack.makeDIDFromAddress;
exports.getUserAppFileUrl = blockstack.getUserAppFileUrl;
exports.lookupProfile = blockstack.lookupProfile;
exports.makeProfileZoneFile = blockstack.makeProfileZoneFile;
exports.signProfileToken = blockstack.signProfileToken;
exports.wrapProfileToken = blockstack.wrapProfileToken;
exports.extractProfile = blockstack.extractProfile;
