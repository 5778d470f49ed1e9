/**
 * @file The programs that we compare with. They are installed on demand into `peers/node_modules`, from the lockfile there,
 * without install scripts and without optional packages (the CUDA and Vulkan variants of llama.cpp are such).
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { run } from '../process.mjs';

const folder = path.join(import.meta.dirname, 'peers');
const stamp = path.join(folder, 'node_modules', '.installed');
const lockfile = path.join(folder, 'package-lock.json');

const json = (file) => JSON.parse(readFileSync(file, 'utf8'));

/** Why there are no peers on this machine, or undefined. */
export function whyNoPeers() {
  if (process.platform === 'linux' && process.arch === 'x64') return undefined;
  return `the peers are pinned for linux-x64, this is ${process.platform}-${process.arch}`;
}

/** Installs them, if the lockfile changed since the last time. */
export async function installPeers(say) {
  const wanted = readFileSync(lockfile, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  say('Installing the peers (llama.cpp, onnxruntime; about 500 MB) …');
  rmSync(stamp, { force: true });
  // Not `npm ci`: it refuses the lockfile where a registry lacks some of the optional packages, which nobody wants here.
  const args = [
    'install',
    '--no-save',
    '--ignore-scripts',
    '--omit=optional',
    '--omit=dev',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  const result = await run('npm', args, { cwd: folder, stdio: 'pipe' });
  if (result.code !== 0) throw new Error(`npm install in ${folder} failed:\n${result.output}`);
  writeFileSync(stamp, wanted);
}

const requirements = path.join(folder, 'requirements.txt');
const pythonFolder = path.join(folder, 'python');

/** The interpreter with the Python peers. */
export function pythonPeers() {
  return path.join(pythonFolder, 'bin', 'python');
}

/** Installs the Python peers into an environment of their own, if their list changed since the last time. */
export async function installPythonPeers(say) {
  const wanted = readFileSync(requirements, 'utf8');
  const installed = path.join(pythonFolder, '.installed');
  if (existsSync(installed) && readFileSync(installed, 'utf8') === wanted) return;
  say('Installing the Python peers (JAX; about 300 MB) …');
  rmSync(pythonFolder, { recursive: true, force: true });
  for (const [command, args] of [
    ['python3', ['-m', 'venv', pythonFolder]],
    [pythonPeers(), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]],
  ]) {
    const result = await run(command, args, { cwd: folder, stdio: 'pipe' });
    if (result.code !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${result.output}`);
  }
  writeFileSync(installed, wanted);
}

/** Name to version, of the peers themselves and of llama.cpp inside its package. */
export function peerVersions() {
  const { dependencies } = json(path.join(folder, 'package.json'));
  const versions = Object.fromEntries(Object.entries(dependencies).filter(([name]) => !name.startsWith('@')));
  const build = path.join(folder, 'node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/_nlcBuildMetadata.json');
  if (existsSync(build)) versions['llama.cpp'] = json(build).buildOptions.llamaCpp.release;
  return versions;
}

/** Imports a peer's module. */
export async function importPeer(name) {
  const require = createRequire(path.join(folder, 'package.json'));
  try {
    return await import(pathToFileURL(require.resolve(name)));
  } catch (error) {
    if (error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error;
  }
  // Packages without a CommonJS entry.
  const { exports } = json(path.join(folder, 'node_modules', name, 'package.json'));
  const entry = exports['.'];
  const target = entry.node?.import ?? entry.import?.default ?? entry.import ?? entry.default;
  return import(pathToFileURL(path.join(folder, 'node_modules', name, target)));
}
