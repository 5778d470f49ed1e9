/** @file A contestant as the parent sees it: a child process that opens, measures and closes on request. */
import { fork } from 'node:child_process';
import path from 'node:path';
import { toolEnv } from '../process.mjs';

/** A measurement that takes longer never ends: spinning threads on a busy machine can starve each other. */
const LIMIT_MINUTES = 10;

const running = new Set();

/** Ends all children at once. */
export function killContestants() {
  for (const child of running) child.kill('SIGKILL');
}

/** Starts the process of `{ module, options, env }` and opens the contestant in it. */
export async function openContestant({ module, options = {}, env = {} }) {
  const child = fork(path.join(import.meta.dirname, 'child.mjs'), [], {
    env: { ...toolEnv(), ...env },
    execArgv: ['--expose-gc'],
    // Whatever libraries print must not get into the JSON on standard output.
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  running.add(child);
  let settle;
  child.on('message', ({ value, error }) =>
    error === undefined ? settle?.resolve(value) : settle?.reject(new Error(error)),
  );
  child.on('exit', (code, signal) => {
    running.delete(child);
    settle?.reject(new Error(`${module}: the process ended (${signal ?? `exit code ${code}`})`));
  });
  const call = (name, args) =>
    new Promise((resolve, reject) => {
      settle = { resolve, reject };
      child.send({ call: name, ...args }, (error) => error && reject(error));
    });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  const contestant = {
    async measure(what) {
      const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MINUTES * 60_000);
      try {
        return await call('measure', { what });
      } finally {
        clearTimeout(timer);
      }
    },
    details: () => call('details'),
    async close() {
      await call('close').catch(() => undefined);
      settle = undefined;
      if (child.connected) child.disconnect();
      await ended;
    },
  };
  try {
    await call('open', { module, options });
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return contestant;
}
