/**
 * Names of BNS V2: the owner writes key and servers into the name's zone file.
 *
 * The zone file is JSON, on the chain, and its `meta` holds free pairs of name and value:
 *
 *     messaging-public-key   the key to encrypt to, 66 hexadecimal digits
 *     messaging-server       a message server; several, in order of preference
 *     messaging-bucket       read URL of the bucket, optional
 *
 * The chain lets nobody but the owner write it. It says the same for all apps.
 */

import { Unproven } from '../errors.ts';
import { listedServers } from '../identity/contact.ts';
import { orUnproven } from '../identity/documents.ts';
import { PublicKey } from '../identity/keys.ts';
import { flag, list, object, optional, parse, record, text } from '../protocol/shape.ts';
import type { Source } from './directory.ts';
import type { Fetcher } from './fetcher.ts';
import { askApi, bucketOf } from './places.ts';

const held = record({ data: record({ owner: text, revoked: flag, is_valid: flag }) });
const pair = record({ name: text, value: text });
const zoneFile = record({ owner: text, meta: optional(list(pair)) });
/** The text of the zone file's JSON, or that JSON. */
const found = (value: unknown, member: string) => {
  const given = object(value, member);
  if (!('zonefile' in given)) text(undefined, 'zonefile');
  return given['zonefile'];
};

/**
 * Knows `alice.btc`.
 *
 * @param api Base URL of the BNS V2 API; `/names/<name>` and `/zonefile/<name>/raw` follow.
 */
export const bnsNames =
  (api: string, fetcher: Fetcher): Source =>
  async name => {
    const base = api.replace(/\/+$/, '');
    const { data } = await askApi(fetcher, `${base}/names/${name}`, held, 'Nobody has that name.');
    if (data.revoked || !data.is_valid) throw new Unproven('The name has expired or was revoked.');
    const raw = `${base}/zonefile/${name}/raw`;
    const file = await askApi(fetcher, raw, found, 'The name has no zone file.');
    return orUnproven('zone file', () => {
      const json = typeof file === 'string' ? parse(file, 'The zone file') : file;
      const { owner, meta = [] } = zoneFile(json, 'zone file');
      // An owner who got the name from another must not speak by the other's words.
      if (owner !== data.owner) throw new Unproven("It is not of the name's owner.");
      const values = (name: string) => meta.filter(one => one.name === name).map(one => one.value);
      const [digits, second] = values('messaging-public-key');
      if (!digits || second !== undefined) throw new Unproven('It does not tell one key.');
      const key = PublicKey.fromHex(digits);
      return {
        did: key.did,
        key,
        bucket: bucketOf(key, values('messaging-bucket')[0]),
        servers: listedServers(values('messaging-server'), 'messaging-server'),
      };
    });
  };
