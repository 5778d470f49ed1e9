import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseSkipList, type SkipList } from '../runner/skip-list.ts';
import type { ReadVectorFile } from '../vectors/manifest.ts';

const root = new URL('../../', import.meta.url);

/** Reads the vectors of this package. */
export const packagedVectors: ReadVectorFile = (name, signal) => readFile(new URL(`vectors/${name}`, root), { signal });

/** What this package knows to fail on an executor of this repository; nothing for others. */
export async function packagedSkips(executor: string): Promise<SkipList> {
  const file = new URL(`skips/${encodeURIComponent(executor)}.json`, root);
  return existsSync(file) ? parseSkipList(await readFile(file, 'utf8'), `skips/${executor}.json`) : {};
}
