/**
 * Close codes of the stream: why it was closed.
 *
 * Codes of RFC 6455 keep their meaning. Those from 4400 echo the HTTP status that says the
 * same thing.
 */

export const NORMAL = 1000;
export const GOING_AWAY = 1001;
/** RFC 6455 section 7.4.1: there was no close frame. */
export const ABNORMAL = 1006;
export const OVERLOADED = 1013;
export const PROTOCOL_ERROR = 4400;
export const UNAUTHORIZED = 4401;
export const FORBIDDEN = 4403;
export const TIMEOUT = 4408;
export const DISPLACED = 4409;
export const TOO_MANY_SESSIONS = 4429;
