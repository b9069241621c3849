/**
 * Blockstack names: names API, zone file, profile, and in it the bucket of the app.
 *
 * The API says which key owns a name. All that follows lies where the owner keeps it, and
 * counts because that key signed it.
 */

import { Unproven } from '../errors.ts';
import { hash160Of } from '../identity/addresses.ts';
import { BTC_ADDR, type PublicKey } from '../identity/keys.ts';
import { bucketAddress } from '../identity/names.ts';
import { bucketIn, MAX_PROFILE, readProfile } from '../identity/profiles.ts';
import { readPublishedKey } from '../identity/published.ts';
import { profileUrl } from '../identity/zonefiles.ts';
import { anything, record, type Shape, text } from '../protocol/shape.ts';
import type { Source } from './directory.ts';
import type { Fetcher } from './fetcher.ts';
import { askApi, fetchFile } from './places.ts';

// The API tells the last thing that happened to a name, or its state. These leave it with
// its owner; others, as name-revoke and name-expired, and any we do not know, do not.
const HELD =
  /^(registered|registered_subdomain|name-(import|register|renewal|transfer|update))$/;

const address: Shape<string> = (value, member) => {
  hash160Of(text(value, member));
  return value as string;
};
const record_ = record({ address, status: text, zonefile: anything });

/**
 * Knows `alice.id` and `alice.id.blockstack`.
 *
 * @param api Base URL of the names API; `/v1/names/<name>` follows.
 */
export const blockstackNames =
  (api: string, fetcher: Fetcher): Source =>
  async (name, app, now) => {
    const url = `${api.replace(/\/+$/, '')}/v1/names/${name}`;
    const told = await askApi(fetcher, url, record_, 'Nobody has that name.');
    const { address, status, zonefile } = told;
    if (!HELD.test(status)) throw new Unproven('The name has expired or was given up.');
    const json = await fetchFile(fetcher, profileUrl(String(zonefile ?? '')), MAX_PROFILE);
    if (json === undefined) throw new Unproven('There is no profile where the name leads.');
    const profile = readProfile(json, hash160Of(address), now);
    const bucket = bucketIn(profile, app);
    const bucketOwner = bucketAddress(bucket);
    return {
      did: BTC_ADDR + bucketOwner,
      key: keyIn(profile.keys, app, bucketOwner),
      bucket,
      signedAt: profile.signedAt,
      signer: address,
    };
  };

/** Returns the key the profile tells for an app, if it is the bucket's. */
function keyIn(keys: Record<string, string>, app: string, address: string): PublicKey | undefined {
  try {
    return Object.hasOwn(keys, app) ? readPublishedKey(keys[app] ?? '', address) : undefined;
  } catch {
    return undefined; // the contact document may still tell the right one
  }
}
