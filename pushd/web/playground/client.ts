/** What the playground uses of the TypeScript client; `make playground` makes client.js of it. */

export { Client, MemoryStore, PrivateKey } from '../../../js/src/index.ts';
export { decrypt, encrypt, Receiver, Sender, waysOf } from '../../../js/src/parts.ts';
