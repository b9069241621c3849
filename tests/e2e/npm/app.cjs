// An app on real packages that does as it is told: one line of JSON in, one line out.
//
//   node app.cjs blockstack
//   {"call": "putFile", "arguments": ["a.txt", "text"], "user": "1Address"}
//   {"result": ...}   or   {"error": {"name": "...", "message": "..."}}
//
// With a user it is that user's app that is called, without one the packages themselves.
// Bytes are written {"hex": "..."}. What the packages say on their console goes to stderr.
'use strict';

const { createInterface } = require('node:readline');
const { makeClient } = require('./client.cjs');
const { makeUser } = require('./user.cjs');

globalThis.console = new console.Console(process.stderr);
const packages = require(`./${process.argv[2]}.cjs`);
const users = new Map();

function signIn(options) {
  const user = makeUser(packages, options);
  users.set(user.address, { ...user, ...makeClient(packages, user, options) });
  return { publicKey: user.publicKey, address: user.address, did: user.did };
}

const read = value => (value?.hex === undefined ? value : Buffer.from(value.hex, 'hex'));

function write(value) {
  if (value instanceof ArrayBuffer) return write(new Uint8Array(value));
  return ArrayBuffer.isView(value) ? { hex: Buffer.from(value).toString('hex') } : value;
}

async function answer({ call, arguments: given, user }) {
  const called = user ? users.get(user) : { ...packages, signIn };
  try {
    return { result: write(await called[call](...given.map(read))) };
  } catch (error) {
    return { error: { name: error.name, message: error.message.split('\n')[0] } };
  }
}

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
}

main();
