/** @file A TensorBoard event file that a training writes; every start of a run has a file of its own. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '@quaver/formats/node';
import { fileVersionRecord, type Scalars, scalarsRecord, sessionStartRecord } from './tensorboard-events.ts';

const prefix = 'events.out.tfevents.';

export interface EventFile {
  readonly path: string;
  scalars(step: number, scalars: Scalars): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Begins an event file in `folder`; its name sorts behind those that are there.
 * @param firstStep a run that goes on: what earlier files hold of this step and later ones is forgotten
 * @throws QuaverError `disk-full`, `file-not-permitted`, …
 */
export async function createEventFile(folder: string, firstStep: number | undefined): Promise<EventFile> {
  const earlier = (await readdir(folder)).filter((name) => name.startsWith(prefix)).sort();
  // Readers take the files in the order of their names; a clock that was set back must not change it.
  const last = Number(earlier.at(-1)?.slice(prefix.length, prefix.length + 10)) || 0;
  const time = Math.max(Math.floor(now()), last);
  const name = `${prefix}${String(time).padStart(10, '0')}.${String(earlier.length).padStart(4, '0')}.quaver`;
  const path = join(folder, name);
  const handle = await open(path, 'ax').catch((error) => Promise.reject(fileError(path, error)));
  const append = (bytes: Uint8Array) =>
    handle.appendFile(bytes).catch((error) => Promise.reject(fileError(path, error)));
  try {
    await append(fileVersionRecord(now()));
    if (firstStep !== undefined) await append(sessionStartRecord(now(), firstStep));
  } catch (error) {
    await handle.close();
    throw error;
  }
  return {
    path,
    scalars: (step, scalars) => append(scalarsRecord(now(), step, scalars)),
    sync: () => handle.sync().catch((error) => Promise.reject(fileError(path, error))),
    close: () => handle.close(),
  };
}

/** Wall-clock seconds since 1970. */
function now(): number {
  return Date.now() / 1000;
}
