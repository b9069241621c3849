/** Replays the vectors about keys, tokens, sealed content, documents and names. */

import { describe, expect, test } from 'vitest';
import { CannotOpen, Unproven } from '../../src/errors.ts';
import { hash160Of } from '../../src/identity/addresses.ts';
import { type ContactDocument, pushdServers, readContact } from '../../src/identity/contact.ts';
import { decrypt, decryptSigned, encrypt, encryptSigned } from '../../src/identity/ecies.ts';
import { readSigned } from '../../src/identity/jws.ts';
import { address, hash160, PrivateKey, PublicKey } from '../../src/identity/keys.ts';
import { bucketAddress } from '../../src/identity/names.ts';
import { bucketIn, readProfile } from '../../src/identity/profiles.ts';
import { readPublishedKey } from '../../src/identity/published.ts';
import { makeToken } from '../../src/identity/tokens.ts';
import { profileUrl } from '../../src/identity/zonefiles.ts';
import { anything } from '../../src/protocol/shape.ts';
import { bytes, cases, hex, type Json, load } from './files.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);

describe('keys.json', () => {
  const keys = load('keys.json').keys.filter((one: Json) => one.algorithm === 'ES256K');

  test.each(cases(keys))('a private key gives all that is public: %s', (_, one) => {
    const key = PrivateKey.fromHex(one.private_key);
    expect(key.public.hex).toBe(one.public_key);
    expect(key.did).toBe(one.did);
    expect(key.public.didKey).toBe(one.did_key);
    expect(hex(key.sign(utf8(one.message)))).toBe(one.signature);
  });

  test.each(cases(keys))('a did:key gives the public key: %s', (_, one) => {
    const key = PublicKey.fromDid(one.did_key);
    expect(key.hex).toBe(one.public_key);
    expect(key.verify(bytes(one.signature), utf8(one.message))).toBe(true);
  });
});

describe('stacks-signed-message.json', () => {
  test.each(cases(load('stacks-signed-message.json').vectors))('wallets: %s', (_, one) => {
    const signature = bytes(one.signature_rsv).slice(0, 64);
    const key = PublicKey.fromHex(one.public_key);
    expect(key.verify(signature, bytes(one.encoded_hex))).toBe(one.verifies);
  });
});

describe('tokens.json', () => {
  test.each(cases(load('tokens.json').made))('the same token is made: %s', (_, one) => {
    const token = makeToken(PrivateKey.fromHex(one.private_key), one.told);
    expect(token).toBe(one.token);
  });
});

describe('jwt-es256k.json', () => {
  const { valid, invalid, keys } = load('jwt-es256k.json');
  const GOOD_SIGNATURES = [
    'issuer-address-mismatch',
    'expired',
    'issued-in-future',
    'two-public-keys',
    'no-public-keys',
    'exp-as-string',
  ];
  const verify = (one: Json) =>
    readSigned(one.token, anything, () => PublicKey.fromPoint(bytes(one.public_key)), 8192);

  test.each(cases(valid))('a signature verifies, with high s and low: %s', (_, one) => {
    verify(one);
  });

  test.each(cases(invalid))('a bad signature is refused: %s', (id, one) => {
    if (GOOD_SIGNATURES.includes(id)) verify(one);
    else expect(() => verify(one)).toThrow(expect.objectContaining({ status: 401 }));
  });

  test.each(Object.entries<Json>(keys))('keys and addresses are alike: %s', (_, one) => {
    const key = PrivateKey.fromHex(one.private_key);
    expect(key.public.hex).toBe(one.public_key);
    expect(key.did).toBe(one.did);
  });
});

describe('ecies.json', () => {
  const file = load('ecies.json');
  const content = (one: Json) => one.plaintext_utf8 ?? bytes(one.plaintext_hex);
  const keyOf = (one: Json) => PrivateKey.fromHex(one.recipient_private_key ?? one.private_key);

  test.each(cases([...file.decrypt, ...file.variants]))('is opened: %s', (_, one) => {
    expect(decrypt(one.ciphertext, keyOf(one))).toEqual(content(one));
  });

  test.each(cases(file.deterministic))('is sealed to the letter: %s', (_, one) => {
    const recipient = PublicKey.fromHex(one.recipient_public_key);
    const how = { ephemeral: PrivateKey.fromHex(one.ephemeral_private_key), iv: bytes(one.iv) };
    expect(encrypt(content(one), recipient, how)).toBe(one.ciphertext);
    const base64 = encrypt(content(one), recipient, { ...how, base64: true });
    expect(base64).toBe(one.ciphertext_base64_variant);
  });

  test.each(cases(file.signed))('is opened, and the signer known: %s', (_, one) => {
    const opened = decryptSigned(one.ciphertext, keyOf(one));
    expect(opened.content).toEqual(content(one));
    expect(opened.signer.hex).toBe(one.signer_public_key);
  });

  test.each(cases(file.signed))('is sealed and signed in the same form: %s', (_, one) => {
    const signer = PrivateKey.fromHex(one.signer_private_key);
    const text = encryptSigned(content(one), keyOf(one).public, signer);
    expect(decryptSigned(text, keyOf(one)).content).toEqual(content(one));
  });

  test.each(cases(file.invalid))('is refused: %s', (_, one) => {
    expect(() => decrypt(one.ciphertext, keyOf(one))).toThrow(CannotOpen);
  });
});

describe('contacts.json', () => {
  const file = load('contacts.json');
  const read = (json: string, seen?: ContactDocument) =>
    readContact(json, { address: file.address, app: file.app, now: file.evaluate_at, seen });
  const before = (one: Json) => (one.seen === undefined ? undefined : read(one.seen));

  test.each(cases(file.valid))('is believed for its claims: %s', (_, one) => {
    const contact = read(one.document, before(one));
    expect({
      did: contact.key.did,
      publicKey: contact.key.hex,
      messagingServers: contact.servers,
      app: contact.app,
      iat: contact.issuedAt,
      exp: contact.expires ?? null,
    }).toEqual(one.claims);
  });

  test.each(cases(file.invalid))('is refused: %s', (_, one) => {
    const seen = before(one);
    expect(() => read(one.document, seen)).toThrow(Unproven);
  });

  test.each(cases(file.servers))('servers: %s', (_, one) => {
    const plain = (place: string) => file.development.includes(place);
    expect(pushdServers(one.messagingServers, plain)).toEqual(one.servers);
  });
});

describe('names-profile.json', () => {
  const file = load('names-profile.json');
  const APP = 'https://app.example';
  const NOW = 1795348800;
  const bucket = `http://127.0.0.1:4020/hub/${file.app.bucket_address}/`;
  const profileOf = (name: string) => {
    const record = file.names[name];
    profileUrl(record.zonefile);
    return readProfile(JSON.stringify(file.profile_token_file), hash160Of(record.address), NOW);
  };

  test.each(cases(file.addresses))('addresses stand for the hash of a key: %s', (_, one) => {
    for (const form of ['btc_p2pkh', 'stacks_mainnet', 'stacks_testnet']) {
      expect(hex(hash160Of(one[form]))).toBe(one.hash160);
    }
    expect(hex(hash160(bytes(one.public_key)))).toBe(one.hash160);
    expect(address(bytes(one.public_key))).toBe(one.btc_p2pkh);
  });

  test.each([
    ['alice.id.blockstack', 'http://127.0.0.1:4020/profile.json'],
    ['alice-btc.id', 'http://127.0.0.1:4020/profile.json'],
    ['evil.id', 'http://127.0.0.1:4020/evil.json'],
    ['https-record.id', 'http://127.0.0.1:4020/profile.json'],
    ['noscheme.id', 'https://127.0.0.1:4020/profile.json'],
  ])('the zone file of %s leads to its profile', (name, url) => {
    expect(profileUrl(file.names[name].zonefile)).toBe(url);
  });

  test('a name with an empty zone file leads nowhere', () => {
    expect(() => profileOf('nozone.btc')).toThrow(Unproven);
  });

  test.each(['alice.id.blockstack', 'alice-btc.id', 'https-record.id', 'noscheme.id'])(
    '%s leads to the bucket and the key its owner signed for',
    name => {
      const profile = profileOf(name);
      expect(profile.signedAt).toBe(NOW);
      expect(bucketIn(profile, APP)).toBe(bucket);
      expect(bucketIn(profile, 'http://localhost:3000')).toBe(bucket);
      const key = readPublishedKey(profile.keys[APP] ?? '', bucketAddress(bucket));
      expect(key.hex).toBe(file.app.public_key);
    },
  );

  test('an app is found by its exact origin', () => {
    expect(() => bucketIn(profileOf('alice.id.blockstack'), `${APP}/`)).toThrow(Unproven);
    expect(() => bucketIn(profileOf('alice.id.blockstack'), 'constructor')).toThrow(Unproven);
  });

  test('a profile of another owner, or of another time, proves nothing', () => {
    const json = JSON.stringify(file.profile_token_file);
    const owner = hash160Of(file.identity.stacks_address);
    expect(readProfile(json, owner, NOW).apps[APP]).toBe(bucket);
    expect(() => readProfile(json, new Uint8Array(20), NOW)).toThrow('another key');
    expect(() => readProfile(json, owner, NOW - 1000)).toThrow('future');
    expect(() => readProfile(json, owner, NOW + 1e10)).toThrow('expired');
  });
});
