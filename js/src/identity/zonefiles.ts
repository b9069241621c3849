/**
 * Zone files of Blockstack names: where the profile of a name's owner lies.
 *
 *     $ORIGIN alice.id.blockstack
 *     $TTL 3600
 *     _http._tcp  IN  URI  10  1  "https://gaia.example/hub/1Addr.../profile.json"
 *
 * They are written as DNS master files (RFC 1035 section 5.1) with URI records (RFC 7553);
 * of those only the records of one line are read.
 */

import { Unproven } from '../errors.ts';

const URI =
  /^([^\s;"]*)\s+(?:(?:IN|[0-9]+)\s+){0,2}URI\s+[0-9]+\s+[0-9]+\s+(?:"([^\s"]+)"|([^\s";]+))\s*(?:;.*)?$/i;

/**
 * Returns the URL of the profile a zone file leads to: http or https.
 *
 * The first record named `_http._tcp` counts; without one the first `_https._tcp`, else the
 * first URI record of any name. A target without a scheme is one of https.
 */
export function profileUrl(zoneFile: string): string {
  const targets = new Map<string, string>();
  if (zoneFile.length > 64 * 1024) throw new Unproven('The zone file is too long.');
  for (const line of zoneFile.split('\n')) {
    const [, name, quoted, bare] = URI.exec(line) ?? [];
    const target = quoted ?? bare;
    const key = name?.toLowerCase() ?? '';
    if (target && !targets.has(key)) targets.set(key, target);
  }
  const target =
    targets.get('_http._tcp') ?? targets.get('_https._tcp') ?? targets.values().next().value;
  if (!target) throw new Unproven("The name's zone file holds no URI record.");
  if (!target.includes('://')) return `https://${target}`;
  if (!/^https?:/i.test(target)) throw new Unproven('The profile is not on the web.');
  return target;
}
