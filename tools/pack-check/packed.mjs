/** @file The published packages: their manifests, and the tarballs that a release would upload. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { root, run } from '../process.mjs';

const tarballs = path.join(root, 'node_modules', '.cache', 'quaver', 'tarballs');

const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

/** Name → `{ folder, manifest }` of every package that a release publishes. */
export function publishedPackages() {
  const folders = readdirSync(path.join(root, 'packages')).map((name) => path.join(root, 'packages', name));
  const packages = folders.map((folder) => ({ folder, manifest: readJson(path.join(folder, 'package.json')) }));
  return new Map(packages.filter((each) => !each.manifest.private).map((each) => [each.manifest.name, each]));
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

/** Packs every published package into `tarballs`, as pnpm would publish it. The packages must be built. */
export async function packAll() {
  for (const { folder } of publishedPackages().values()) removeLeftovers(folder);
  rmSync(tarballs, { recursive: true, force: true });
  mkdirSync(tarballs, { recursive: true });
  const { packageManager } = readJson(path.join(root, 'package.json'));
  const pack = ['-r', '--filter', './packages/*', 'pack', '--pack-destination', tarballs];
  const result = await run('npx', ['--yes', '--loglevel=error', packageManager, ...pack], { stdio: 'pipe' });
  if (result.code !== 0) throw new Error(`pnpm pack failed:\n${result.output}`);
}
