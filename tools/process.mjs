/** @file Runs child processes so that their exit code and their signals become ours. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
export const bin = path.join(root, 'node_modules', '.bin');

const onTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;

/** The Node that the workspace pins, or the running one on a platform for which none is pinned. */
export function pinnedNode() {
  const pinned = path.join(bin, 'node');
  return existsSync(pinned) ? pinned : process.execPath;
}

/** The environment in which the pinned tools run: `node_modules/.bin` first on PATH; nx without daemon and network. */
export function toolEnv() {
  return {
    ...process.env,
    PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}`,
    NX_DAEMON: 'false',
    NX_NO_CLOUD: 'true',
    NX_TUI: 'false',
  };
}

const text = (chunks) => Buffer.concat(chunks).toString('utf8');

/**
 * Runs a command to its end. Resolves to `{ code, signal, stdout, output }`; the last, with `stdio: 'pipe'`, holds both streams.
 * SIGTERM and SIGHUP are passed on. SIGINT is passed on only without a terminal: a terminal has sent it to the child already.
 */
export function run(command, args, { cwd = root, env = toolEnv(), stdio = 'inherit' } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: stdio === 'pipe' ? ['ignore', 'pipe', 'pipe'] : stdio });
    const forward = (signal) => {
      if (signal !== 'SIGINT' || !onTerminal) child.kill(signal);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, forward);
    const output = [];
    const stdout = [];
    child.stdout?.on('data', (chunk) => stdout.push(chunk));
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => output.push(chunk));
    const settle = (finish, value) => {
      for (const signal of signals) process.off(signal, forward);
      finish(value);
    };
    child.on('error', (error) => settle(reject, error));
    child.on('close', (code, signal) => settle(resolve, { code, signal, stdout: text(stdout), output: text(output) }));
  });
}

/** Ends this process the way the child ended: by the same signal, or with the same exit code. */
export function endLike({ code, signal }) {
  if (!signal) process.exit(code ?? 1);
  process.kill(process.pid, signal);
  // A parent that ignores the signal still sees the conventional code.
  setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
}
