import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const child = fileURLToPath(new URL('save-on-a-full-disk.ts', import.meta.url));
const node = [process.execPath, '--conditions=@quaver/source', child];

function shell(...command: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(command[0]!, command.slice(1), { encoding: 'utf8' });
}

const left = ['step-00000001', 'step-00000004'];

/** A disk of 1 MB of its own; most containers and some systems do not let a test mount one. */
const mount = ['unshare', '-rm', 'sh', '-c', 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"', 'sh'];

test('a disk that has no room, or loses it while a checkpoint is written: the last checkpoint is intact', async () => {
  const run = await mkdtemp(path.join(tmpdir(), 'quaver-full-'));
  const mayMount = shell(...mount, run, 'true').status === 0;
  if (mayMount) {
    const { stdout, stderr } = shell(...mount, run, ...node, run, '2000000', 'fill');
    expect(stderr).toBe('');
    const full = 'checkpoint-disk-full';
    expect(JSON.parse(stdout)).toEqual({ results: ['saved', full, full, 'intact', 'saved'], left });
  } else {
    // The limit on the size of a file stops a write in the middle too, with an error of its own. It counts in blocks of 512 bytes.
    const limited = ['sh', '-c', 'trap "" XFSZ; ulimit -f 1000; exec "$@"', 'sh'];
    const { stdout, stderr } = shell(...limited, ...node, run, '2000000');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({ results: ['saved', 'file-too-large', 'intact', 'saved'], left });
  }
  await rm(run, { recursive: true });
});
