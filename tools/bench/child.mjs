/**
 * @file The process of one contestant: loads a module of `contestants/`, opens it, and measures when the parent says so. Between
 * measurements it waits, so that contestants which take turns do not share a process, a heap or a thread pool.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

let contestant;

const calls = {
  async open({ module, options }) {
    const { open } = await import(pathToFileURL(path.join(import.meta.dirname, 'contestants', `${module}.mjs`)));
    contestant = await open(options);
  },
  measure: ({ what }) => contestant.measure(what),
  details: () => contestant.details(),
  close: () => contestant.close(),
};

process.on('message', async ({ call, ...args }) => {
  try {
    process.send({ value: await calls[call](args) });
  } catch (error) {
    process.send({ error: error?.stack ?? String(error) });
  }
});
// The parent is gone, or wants no more: threads of native code must not keep the process alive.
process.on('disconnect', () => process.exit(0));
process.on('SIGINT', () => undefined);
