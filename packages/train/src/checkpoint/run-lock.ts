/**
 * @file One training at a time writes a run folder: `run.lock` names the process. A process that died leaves its lock behind; the next
 * one takes it over. Process numbers are used again, most of all in containers, so the lock also holds when the process began.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileError } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';

const ownerSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  /** What tells this start of the machine from others; empty where the system does not say. */
  boot: z.string(),
  /** When the process began, in the system's ticks; empty where the system does not say. */
  began: z.string(),
});
type Owner = z.infer<typeof ownerSchema>;

/** The right to write a run folder, which only one process has at a time. */
export interface RunLock {
  readonly folder: string;
  /** Gives the folder free. Calling it again does nothing. */
  release(): Promise<void>;
}

/**
 * Takes the folder for this process, and creates it where there is none.
 * @throws QuaverError `run-folder-in-use` while another training has it, `file-not-permitted`, …
 */
export async function lockRunFolder(folder: string): Promise<RunLock> {
  const file = join(folder, 'run.lock');
  try {
    await makeFolder(folder);
    const content = `${JSON.stringify(await describe(process.pid))}\n`;
    // Each turn either gets the lock, or finds a living owner, or puts one stale lock away.
    while (!(await create(file, content))) await putAwayStale(folder, file);
    let held = true;
    return {
      folder,
      async release() {
        if (!held) return;
        held = false;
        if ((await readIfPresent(file)) === content) await unlink(file);
      },
    };
  } catch (error) {
    throw fileError(folder, error);
  }
}

/** With the folders that it is in. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // On a read-only file system a recursive mkdir says that there is no such folder; a plain one says why.
    let missing = resolve(folder);
    while (!(await exists(dirname(missing)))) missing = dirname(missing);
    await mkdir(missing);
    await mkdir(folder, { recursive: true });
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Creates the lock with its content in one step; false where there is one. */
async function create(file: string, content: string): Promise<boolean> {
  const own = `${file}.${randomBytes(6).toString('hex')}`;
  await writeFile(own, content, { flag: 'wx' });
  try {
    await link(own, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(own);
  }
}

async function putAwayStale(folder: string, file: string): Promise<void> {
  const found = await readIfPresent(file);
  if (found === undefined) return;
  const owner = parseOwner(found);
  if (owner === undefined || (await mayLive(owner))) throw inUse(folder, file, owner);
  const aside = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await rename(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // somebody else put it away
    throw error;
  }
  // Between reading and renaming another process may have taken the folder: then its lock goes back.
  if ((await readIfPresent(aside)) !== found) await link(aside, file).catch(() => undefined);
  await unlink(aside);
}

async function describe(pid: number): Promise<Owner> {
  const boot = (await readIfPresent('/proc/sys/kernel/random/boot_id'))?.trim() ?? '';
  const stat = await readIfPresent(`/proc/${pid}/stat`);
  // The command's name stands in brackets and may hold spaces; behind it come the state and, as the 20th field, the start.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  const ended = fields[0] === 'Z' || fields[0] === 'X'; // dead, but its parent has not asked yet how it ended
  const began = ended ? '' : (fields[19] ?? '');
  return { pid, host: hostname(), boot, began };
}

/** False only where it is certain that the process has ended. */
async function mayLive(owner: Owner): Promise<boolean> {
  if (owner.host !== hostname()) return true;
  const now = await describe(owner.pid);
  if (owner.boot !== now.boot) return false;
  if (now.began !== '' || owner.began !== '') return owner.began === now.began;
  try {
    process.kill(owner.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function parseOwner(text: string): Owner | undefined {
  try {
    return ownerSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function readIfPresent(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

function inUse(folder: string, file: string, owner: Owner | undefined): QuaverError {
  const who = owner === undefined ? 'another program' : `process ${owner.pid} on ${owner.host}`;
  return new QuaverError('run-folder-in-use', `${folder}: ${who} is writing this run`, {
    where: { file, ...(owner !== undefined && { pid: owner.pid }) },
    hint: `Wait until it ends or choose another folder. If nothing runs there any more, remove ${file}.`,
  });
}
