/** @file Packs every published package and lints the tarballs: publint (strict) and attw (ESM only). */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { bin, run } from '../process.mjs';
import { packAll, publishedPackages, tarballOf } from './packed.mjs';

/** `exports` as published: the same entries, without the condition that leads to the sources. */
function publishedExports(exports) {
  const entries = Object.entries(exports).map(([subpath, target]) => {
    if (typeof target === 'string') return [subpath, target];
    const { '@quaver/source': _, ...published } = target;
    return [subpath, published];
  });
  return Object.fromEntries(entries);
}

async function lint({ manifest }) {
  const problems = [];
  if (!isDeepStrictEqual(manifest.publishConfig.exports, publishedExports(manifest.exports)))
    problems.push('publishConfig.exports must be exports without the @quaver/source conditions');
  const tarball = tarballOf(manifest);
  const linters = [
    ['publint', 'run', tarball, '--strict'],
    ['attw', tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-color', '--no-emoji'],
  ];
  for (const [name, ...args] of linters) {
    const { code, output } = await run(path.join(bin, name), args, { stdio: 'pipe' });
    if (code !== 0) problems.push(output.trim());
  }
  return problems;
}

await packAll();
const queue = [...publishedPackages().values()];
async function worker() {
  for (let next = queue.shift(); next; next = queue.shift()) {
    const problems = await lint(next);
    console.log(`${problems.length ? '✗' : '✓'} ${next.manifest.name}`);
    for (const problem of problems) console.log(problem.replace(/^/gm, '    '));
    if (problems.length) process.exitCode = 1;
  }
}
await Promise.all([worker(), worker()]);
