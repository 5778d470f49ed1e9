/** @file Packs every published package and lints the tarballs: publint (strict), and attw (ESM only) where there are types. */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { bin, run } from '../process.mjs';
import { packAll, platformPackages, publishedPackages, tarballOf } from './packed.mjs';

/** `exports` as published: the same entries, without the condition that leads to the sources. */
function publishedExports(exports) {
  const entries = Object.entries(exports).map(([subpath, target]) => {
    if (typeof target === 'string') return [subpath, target];
    const { '@quaver/source': _, ...published } = target;
    return [subpath, published];
  });
  return Object.fromEntries(entries);
}

const publint = (tarball) => ['publint', 'run', tarball, '--strict'];
/** Attw resolves entries to code; a file that bundlers take as it is has none. */
function attw(tarball, exports) {
  const files = Object.keys(exports).filter((subpath) => subpath.endsWith('.qvr'));
  const excluded = files.length > 0 ? ['--exclude-entrypoints', ...files] : [];
  return ['attw', tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-color', '--no-emoji', ...excluded];
}

async function outputOfFailed(linters) {
  const problems = [];
  for (const [name, ...args] of linters) {
    const { code, output } = await run(path.join(bin, name), args, { stdio: 'pipe' });
    if (code !== 0) problems.push(output.trim());
  }
  return problems;
}

async function lint({ manifest }) {
  const tarball = tarballOf(manifest);
  const problems = await outputOfFailed([publint(tarball), attw(tarball, manifest.exports)]);
  if (!isDeepStrictEqual(manifest.publishConfig.exports, publishedExports(manifest.exports)))
    problems.push('publishConfig.exports must be exports without the @quaver/source conditions');
  return problems;
}

async function lintPlatform({ manifest, isHost, isBuilt }) {
  if (!isBuilt) return isHost ? ['the native engine is not built: node tools/build-native.mjs --required'] : [];
  return outputOfFailed([publint(tarballOf(manifest))]);
}

await packAll();
const queue = [
  ...[...publishedPackages().values()].map((each) => ({ ...each, lint: () => lint(each) })),
  ...platformPackages().map((each) => ({ ...each, lint: () => lintPlatform(each) })),
];
async function worker() {
  for (let next = queue.shift(); next; next = queue.shift()) {
    const problems = await next.lint();
    const unbuilt = next.isBuilt === false && problems.length === 0 ? ' (not built here)' : '';
    console.log(`${problems.length ? '✗' : '✓'} ${next.manifest.name}${unbuilt}`);
    for (const problem of problems) console.log(problem.replace(/^/gm, '    '));
    if (problems.length) process.exitCode = 1;
  }
}
await Promise.all([worker(), worker()]);
