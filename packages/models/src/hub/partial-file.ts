import { randomBytes } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { fileBytes } from './file-digest.ts';

const ABANDONED_MS = 24 * 3600 * 1000;

/** A name part that tells whose temporary file this is: computer and process, then something random. */
const ownerTag = (): string => `${hostTag()}-${process.pid}-${randomBytes(4).toString('hex')}`;

const hostTag = (): string => hostname().replace(/[^A-Za-z0-9]/g, '_') || 'host';

/** A temporary name next to `final`, so that a rename within the file system finishes it. */
export const temporaryName = (final: string): string => `${final}.${ownerTag()}.tmp`;

/**
 * The unfinished bytes of one download. Without locks: whoever renames `FILE.partial` to a name of its own owns it, and
 * a rename succeeds for one process only. Others begin their own from zero; both finish by renaming a
 * verified file to the same final name.
 */
export class PartialFile {
  readonly path: string;
  readonly #idle: string;

  constructor(own: string, idle: string) {
    this.path = own;
    this.#idle = idle;
  }

  /** Takes over what an earlier pull of `final` left behind, if there is anything. */
  static async claim(final: string): Promise<PartialFile> {
    const idle = `${final}.partial`;
    const own = `${final}.${ownerTag()}.partial`;
    const candidates = [idle, ...(await abandoned(final))];
    for (const candidate of candidates) {
      try {
        await rename(candidate, own);
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    return new PartialFile(own, idle);
  }

  /** Leaves the bytes for the next pull to go on with. */
  async release(): Promise<void> {
    if (await fileBytes(this.path)) await rename(this.path, this.#idle);
    else await this.discard();
  }

  async discard(): Promise<void> {
    await rm(this.path, { force: true });
  }
}

/** Partial files of `final` whose process has died without releasing them. */
async function abandoned(final: string): Promise<string[]> {
  const folder = path.dirname(final);
  const prefix = `${path.basename(final)}.`;
  const found: string[] = [];
  for (const name of await readdir(folder)) {
    const owner = name.startsWith(prefix) ? /^(\w+)-(\d+)-[0-9a-f]{8}\.partial$/.exec(name.slice(prefix.length)) : null;
    if (owner === null) continue;
    const [, host, pid] = owner;
    const dead = host === hostTag() && !isAlive(Number(pid));
    const age = Date.now() - ((await stat(path.join(folder, name)).catch(() => undefined))?.mtimeMs ?? Date.now());
    if (dead || age > ABANDONED_MS) found.push(path.join(folder, name));
  }
  return found;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
