/** Replays sessions.json: this session does what the one in Python does, step by step. */

import { describe, expect, test } from 'vitest';
import type { Command } from '../../src/protocol/commands.ts';
import { MessageId } from '../../src/protocol/ids.ts';
import { ClientSession } from '../../src/protocol/session.ts';
import { cases, type Json, load } from './files.ts';

/** Writes a command as the vectors do. */
function written(command: Command): Json {
  switch (command.do) {
    case 'connect':
      return { connect: { delay: command.delay, new_token: command.newToken } };
    case 'send':
      return { send: command.frame };
    case 'dispatch':
      return { dispatch: `${command.id}` };
    case 'make token':
      return { make_token: true };
    case 'save':
      return { save: command.progress };
    case 'close':
      return { close: command.code };
    case 'stop': {
      const { error } = command;
      return { stop: error ? { code: error.code, error: error.error?.code ?? null } : null };
    }
    case 'tell': {
      if (command.read) return { read: command.read };
      if (command.overflow) return { overflow: command.overflow };
      const { retryIn, reason, ...status } = command.status!;
      return { status: { ...status, ...(retryIn !== undefined && { retry_in: retryIn }) } };
    }
  }
}

/** Lets something happen to a session. */
function happen(session: ClientSession, step: Json): void {
  const { event, id, code, token, now, text } = step;
  switch (event) {
    case 'connected':
      return session.connected(token, now);
    case 'renewed':
      return session.renewed(token);
    case 'closed':
      return session.closed(code, '', step.retry_after, step.another_token);
    case 'frame':
      return session.frame(text, now);
    case 'heard':
    case 'tick':
      return session[event as 'tick'](now);
    case 'handled':
    case 'held':
    case 'failed':
      return session[event as 'failed'](MessageId.parse(id));
    default:
      return session[event as 'start' | 'reopen' | 'stop']();
  }
}

describe('sessions.json', () => {
  test.each(cases(load('sessions.json').client))('%s', (_, script) => {
    const session = new ClientSession(() => script.random, {
      progress: script.progress ?? undefined,
      window: script.window,
      device: script.device ?? undefined,
    });
    for (const [place, step] of script.steps.entries()) {
      happen(session, step);
      if (!step.commands) continue;
      const after = `after step ${place}, ${step.event}`;
      expect(session.commands().map(written), after).toEqual(step.commands);
      expect(session.empty, after).toBe(step.empty ?? false);
      expect(session.serverTime, after).toBe(step.server_time);
    }
  });
});
