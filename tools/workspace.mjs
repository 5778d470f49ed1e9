/**
 * @file Keeps a checkout ready to use: `install` and `build` do their work only when their inputs changed.
 * Two processes may ask at once; the second waits for the first.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bin, pinnedNode, root, run } from './process.mjs';

const state = path.join(root, 'node_modules', '.cache', 'quaver');

/** A failure that needs no stack trace: the message says what to do. */
export class SetupError extends Error {}

/** The folders of the workspace's packages, or of its examples. */
function foldersIn(parent) {
  const at = path.join(root, parent);
  const names = existsSync(at) ? readdirSync(at).sort() : [];
  return names.map((name) => path.join(at, name)).filter((folder) => existsSync(path.join(folder, 'package.json')));
}

/** The files whose bytes decide what is installed. */
function installInputs() {
  const manifests = ['packages', 'examples'].flatMap(foldersIn).map((folder) => path.join(folder, 'package.json'));
  return [
    ...['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml'].map((name) => path.join(root, name)),
    ...manifests,
  ];
}

function installKey() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}\n`);
  for (const file of installInputs()) hash.update(`${path.relative(root, file)}\0`).update(readFileSync(file));
  return hash.digest('hex');
}

/** Name, size and modification time of every file that the build reads: cheap to collect, and sees deletions too. */
function buildKey() {
  const files = ['tsconfig.json', 'tsconfig.base.json'].map((name) => path.join(root, name));
  for (const folder of foldersIn('packages')) {
    files.push(path.join(folder, 'tsconfig.json'), path.join(folder, 'package.json'));
    for (const entry of readdirSync(path.join(folder, 'src'), { recursive: true, withFileTypes: true }))
      if (entry.isFile()) files.push(path.join(entry.parentPath ?? entry.path, entry.name));
  }
  const hash = createHash('sha256');
  for (const file of files.sort()) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${path.relative(root, file)} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

const isBuilt = () => foldersIn('packages').every((folder) => existsSync(path.join(folder, 'dist', '.tsbuildinfo')));

const stampOf = (name) => path.join(state, `${name}.stamp`);
const isCurrent = (name, key) => existsSync(stampOf(name)) && readFileSync(stampOf(name), 'utf8') === key;

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Whether the owner of a lock has died, perhaps before it could write its process id. */
function isAbandoned(lock) {
  try {
    const owner = Number(readFileSync(lock, 'utf8'));
    return owner ? !isAlive(owner) : Date.now() - statSync(lock).mtimeMs > 5000;
  } catch (error) {
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}

/** Runs `work` while no other process of this checkout does; a lock whose owner has died is taken over. */
async function exclusively(name, work) {
  mkdirSync(state, { recursive: true });
  const lock = path.join(state, `${name}.lock`);
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (isAbandoned(lock)) rmSync(lock, { force: true });
    else await sleep(50);
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

async function whenStale(name, key, work) {
  if (isCurrent(name, key())) return;
  await exclusively(name, async () => {
    const before = key();
    if (isCurrent(name, before)) return;
    await work();
    mkdirSync(state, { recursive: true });
    writeFileSync(stampOf(name), before);
  });
}

function must(result, message) {
  if (result.signal) process.kill(process.pid, result.signal);
  if (result.code !== 0) throw new SetupError(`${result.output.trimEnd()}\n\n${message}`);
}

/** Installs what the lockfile pins, if it changed since the last time. `say` receives progress in words. */
export async function install(say) {
  await whenStale('install', installKey, async () => {
    const { packageManager } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    say(`Installing the pinned tools and packages with ${packageManager} …`);
    const started = performance.now();
    const args = ['--yes', '--loglevel=error', packageManager, 'install', '--frozen-lockfile', '--prod=false'];
    // CI: pnpm must not ask questions, not even whether to replace another package manager's node_modules.
    const env = { ...process.env, CI: 'true' };
    const result = await run('npx', args, { env, stdio: 'pipe' });
    must(
      result,
      `The installation failed (${packageManager}, output above). Is the package registry reachable? Then run the command again.`,
    );
    say(`Installed in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
  });
}

/** Compiles the packages (`tsc -b`, incremental) if a source changed since the last time. */
export async function build(say) {
  if (!isBuilt()) rmSync(stampOf('build'), { force: true });
  await whenStale('build', buildKey, async () => {
    say('Building the packages …');
    must(
      await run(path.join(bin, 'tsc'), ['-b'], { stdio: 'pipe' }),
      'The packages do not compile: tsc says why, above.',
    );
  });
  await buildNative(say);
}

/** Builds the native engine if a source of it changed; a machine without a compiler is told, and runs WebAssembly. */
async function buildNative(say) {
  const result = await run(pinnedNode(), [path.join(root, 'tools/build-native.mjs')], { stdio: 'pipe' });
  must(result, 'The native engine does not compile: the compiler says why, above.');
  const said = result.output.trim();
  if (said) say(said);
}
