/** @file The published packages: their manifests, and the tarballs that a release would upload. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { platformFolder } from '../native-packages.mjs';
import { targets } from '../native-targets.mjs';
import { root, run } from '../process.mjs';

const tarballs = path.join(root, 'node_modules', '.cache', 'quaver', 'tarballs');

const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

const packageIn = (folder) => ({ folder, manifest: readJson(path.join(folder, 'package.json')) });

/** Name → `{ folder, manifest }` of every package that a release publishes and that is written in TypeScript. */
export function publishedPackages() {
  const folders = readdirSync(path.join(root, 'packages')).map((name) => path.join(root, 'packages', name));
  const packages = folders.map(packageIn);
  return new Map(packages.filter((each) => !each.manifest.private).map((each) => [each.manifest.name, each]));
}

/** The packages with the native engine: each with its `target`, and whether it is that of this machine, and built. */
export function platformPackages() {
  return Object.keys(targets).map((target) => ({
    ...packageIn(platformFolder(target)),
    target,
    isHost: target === `${process.platform}-${process.arch}`,
    isBuilt: existsSync(path.join(platformFolder(target), 'quaver.node')),
  }));
}

export const tarballOf = ({ name, version }) =>
  path.join(tarballs, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);

/** Deletes what an earlier build left in dist of sources that were since renamed or deleted: tsc does not. */
function removeLeftovers(folder) {
  for (const file of readdirSync(path.join(folder, 'dist'), { recursive: true })) {
    const source = file.replace(/\.(d\.ts|js)(\.map)?$/, '.ts');
    if (source !== file && !existsSync(path.join(folder, 'src', source))) rmSync(path.join(folder, 'dist', file));
  }
}

/**
 * Packs every published package into `tarballs`, as pnpm would publish it. The packages must be built; those for other
 * platforms are packed without the engine if it was not built here.
 */
export async function packAll() {
  for (const { folder } of publishedPackages().values()) removeLeftovers(folder);
  rmSync(tarballs, { recursive: true, force: true });
  mkdirSync(tarballs, { recursive: true });
  const { packageManager } = readJson(path.join(root, 'package.json'));
  const pack = [
    '-r',
    '--filter',
    './packages/*',
    '--filter',
    './packages/executor-cpu/npm/*',
    'pack',
    '--pack-destination',
    tarballs,
  ];
  const result = await run('npx', ['--yes', '--loglevel=error', packageManager, ...pack], { stdio: 'pipe' });
  if (result.code !== 0) throw new Error(`pnpm pack failed:\n${result.output}`);
}
