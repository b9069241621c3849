// The `@stacks` packages 7 with `jsontokens` 4, in the form `app.cjs` calls.
'use strict';

const auth = require('@stacks/auth');
const encryption = require('@stacks/encryption');
const profile = require('@stacks/profile');
const { Storage, getUserAppFileUrl } = require('@stacks/storage');
const { TokenSigner, TokenVerifier, decodeToken } = require('jsontokens');

/** Makes the session of a user who is signed in, and the user's storage. */
exports.makeSession = ({ appPrivateKey, hubUrl, origin }) => {
  const session = new auth.UserSession({
    appConfig: new auth.AppConfig(['store_write', 'publish_data'], origin),
    sessionOptions: { userData: { appPrivateKey, hubUrl } },
  });
  return { session, storage: new Storage({ userSession: session }) };
};

exports.TokenSigner = TokenSigner;
exports.verifyToken = (token, publicKey) =>
  new TokenVerifier('ES256K', publicKey).verify(token);
exports.decodeToken = decodeToken;
exports.verifyECDSA = encryption.verifyECDSA;
exports.getPublicKeyFromPrivate = encryption.getPublicKeyFromPrivate;
exports.publicKeyToAddress = encryption.publicKeyToBtcAddress;
exports.makeDIDFromAddress = auth.makeDIDFromAddress;
exports.getUserAppFileUrl = (path, username, appOrigin, zoneFileLookupURL) =>
  getUserAppFileUrl({ path, username, appOrigin, zoneFileLookupURL });
exports.lookupProfile = (username, zoneFileLookupURL) =>
  auth.lookupProfile({ username, zoneFileLookupURL });
exports.makeProfileZoneFile = profile.makeProfileZoneFile;
exports.signProfileToken = profile.signProfileToken;
exports.wrapProfileToken = profile.wrapProfileToken;
exports.extractProfile = profile.extractProfile;
