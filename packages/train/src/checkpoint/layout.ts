/** @file Where checkpoints lie in a run folder, and the names of what is on the way in or out. */
import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

export const checkpointsFolder = (runFolder: string): string => join(runFolder, 'checkpoints');
export const stepFolderName = (step: number): string => `step-${String(step).padStart(8, '0')}`;

/** `.partial` is not complete yet, `.removed` will be deleted, `.replaced` is complete and makes place for a new one. */
export type Passing = 'partial' | 'removed' | 'replaced';

/** A name beside a step's folder that nothing else uses. */
export function passingName(step: number, kind: Passing): string {
  return `${stepFolderName(step)}.${randomBytes(6).toString('hex')}.${kind}`;
}

/** What the name of a folder under `checkpoints` says; `undefined` for names that are not ours. */
export function parseFolderName(name: string): { readonly step: number; readonly passing?: Passing } | undefined {
  const match = /^step-(\d{8,15})(?:\.[0-9a-f]{12}\.(partial|removed|replaced))?$/.exec(name);
  if (match === null || stepFolderName(Number(match[1])) !== `step-${match[1]}`) return undefined;
  const passing = match[2] as Passing | undefined;
  return { step: Number(match[1]), ...(passing !== undefined && { passing }) };
}

/** Makes created, renamed and removed names in a folder survive a power failure. Windows has no such call. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
