// A user who is signed in to an app, and what the packages do for it.
'use strict';

/** Signs a user in whom a wallet gave an app key and a hub. */
exports.makeUser = (packages, options) => {
  const { session, storage } = packages.makeSession(options);
  const publicKey = packages.getPublicKeyFromPrivate(options.appPrivateKey);
  const address = packages.publicKeyToAddress(publicKey);
  return {
    publicKey,
    address,
    did: packages.makeDIDFromAddress(address),
    sign: claims => new packages.TokenSigner('ES256K', options.appPrivateKey).sign(claims),
    encryptContent: session.encryptContent.bind(session),
    decryptContent: session.decryptContent.bind(session),
    putFile: storage.putFile.bind(storage),
    getFile: storage.getFile.bind(storage),
    deleteFile: storage.deleteFile.bind(storage),
    listFiles: async () => {
      const names = [];
      await storage.listFiles(name => names.push(name) > 0);
      return names;
    },
  };
};
