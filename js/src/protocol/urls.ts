/** The one spelling of a server's URL, which tokens are compared with; and where URLs lead. */

import { badRequest } from '../errors.ts';

const PORTS: Record<string, string> = { http: '80', https: '443' };

// Scheme, host and port, path; of RFC 3986, what a server's URL may hold.
const URL_ =
  /^([A-Za-z][A-Za-z0-9+.-]*):\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::([0-9]*))?((?:\/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)$/;

/**
 * Returns the canonical form of a server's URL: scheme and host in lower case, no default
 * port, no slash at the end.
 */
export function canonicalUrl(text: string): string {
  const match = URL_.exec(text);
  const scheme = match?.[1]?.toLowerCase() ?? '';
  const host = match?.[2]?.toLowerCase() ?? '';
  if (!Object.hasOwn(PORTS, scheme) || (host[0] === '[' && !URL.canParse(`http://${host}`))) {
    throw badRequest("A server's URL is http(s)://host[:port][/path].");
  }
  return `${scheme}://${host}${port(match?.[3], scheme)}${match?.[4]?.replace(/\/+$/, '')}`;
}

/** Returns `:port`, or nothing for the port the scheme has anyway. */
function port(digits: string | undefined, scheme: string): string {
  if (!digits) return '';
  const port = digits.replace(/^0+/, '');
  if (!port || port.length > 5 || Number(port) > 65535) {
    throw badRequest('The port of the URL is 1 to 65535.');
  }
  return port === PORTS[scheme] ? '' : `:${port}`;
}

// Scheme, host and port, and then nothing that could lead elsewhere. `URL` would do it as
// well, but React Native has half of it.
const PLACE = /^(https?):\/\/([a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]+))?(?=[/?#]|$)/;

/** Where a URL leads. */
export interface Place {
  scheme: string;
  host: string;
  /** With the port also where that is the default one; empty where it leads nowhere. */
  hostPort: string;
}

/** Tells where a URL leads. */
export function placeOf(url: string): Place {
  const [, scheme = '', host = '', port = PORTS[scheme]] = PLACE.exec(url.toLowerCase()) ?? [];
  return { scheme, host, hostPort: host && `${host}:${port}` };
}
