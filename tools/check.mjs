/**
 * @file `npm test`: every check, in order, stopping at the first that fails. With --heavy (`npm run test:heavy`) instead what
 * takes too long for every commit. The last line is `N passed, N failed, N skipped`; a check counts as one, and those that run
 * tests count as their tests.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { bin, pinnedNode, root, run, toolEnv } from './process.mjs';

const script = (file, ...args) => ({ command: pinnedNode(), args: [path.join(root, file), ...args] });
const tool = (name, ...args) => ({ command: path.join(bin, name), args });

const checks = [
  { title: 'Generated code is current', ...script('tools/codegen.mjs', '--check') },
  { title: 'Packages of the platforms are current', ...script('tools/native-packages.mjs', '--check') },
  { title: 'Native engine', ...script('tools/build-native.mjs', '--required') },
  { title: 'WebAssembly is current', ...script('tools/build-wasm.mjs', '--check') },
  { title: 'Format and lint (biome)', ...tool('biome', 'check', '--error-on-warnings') },
  { title: 'Compile (tsc -b)', ...tool('tsc', '-b') },
  { title: 'Types of tests, examples and tools', ...tool('tsc', '-p', 'tsconfig.tests.json') },
  { title: 'docs/ops.md is current', ...script('tools/docs-ops.mjs', '--check') },
  { title: 'FEATURES.md is current', ...script('tools/features.mjs', '--check') },
  {
    title: 'Arrows between packages (dependency-cruiser)',
    ...tool('depcruise', 'packages', 'examples', '--config', '.dependency-cruiser.mjs', '--output-type', 'err-long'),
  },
  { title: 'Nothing unused (knip)', ...tool('knip', '--no-progress', '--no-config-hints') },
  { title: 'Packed packages (publint, attw)', ...script('tools/pack-check/lint.mjs') },
  { title: 'Tests (vitest)', ...tool('vitest', 'run', '--allowOnly=false'), counts: true },
  { title: 'Consumers of the packed packages', ...script('tools/pack-check/consume.mjs'), counts: true },
];

const heavyChecks = [
  { title: 'Heavy tests (vitest)', ...tool('vitest', 'run', '--config', 'vitest.heavy.config.ts'), counts: true },
  { title: 'Native code with sanitizers', ...script('tools/sanitize.mjs'), counts: true },
  { title: 'The example on the real model', ...script('examples/generate/generate.mjs') },
];

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Runs one check. Resolves to its totals; `failed` is above 0 exactly when the check did not pass. */
async function perform(check, scratch) {
  const file = path.join(scratch, 'totals.json');
  rmSync(file, { force: true });
  const result = await run(check.command, check.args, { env: { ...toolEnv(), QUAVER_TOTALS: file } });
  if (result.signal) return { passed: 0, failed: 1, skipped: 0, stopped: true };
  const ok = result.code === 0;
  if (!check.counts) return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 };
  const totals = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 0, skipped: 0 };
  const { passed, failed, skipped, skippedTests = [] } = totals;
  for (const name of skippedTests) console.error(`Skipped, which is not allowed: ${name}`);
  const mustFail = !ok || skipped > 0 || passed === 0;
  return { passed, failed: mustFail ? Math.max(failed, 1) : failed, skipped };
}

const heavy = process.argv.includes('--heavy');
const selected = heavy ? heavyChecks : checks;
const sum = { passed: 0, failed: 0, skipped: 0 };
const scratch = mkdtempSync(path.join(tmpdir(), 'quaver-check-'));
const started = performance.now();
const times = [];

for (const check of selected) {
  console.log(`\n━━ ${check.title}`);
  const from = performance.now();
  const totals = await perform(check, scratch);
  for (const key of Object.keys(sum)) sum[key] += totals[key];
  times.push(`${seconds(from).padStart(8)}  ${check.title}`);
  console.log(`${totals.failed ? '✗ failed' : '✓ passed'} in ${seconds(from)}`);
  if (totals.failed) break;
}

rmSync(scratch, { recursive: true, force: true });
if (times.length) console.log(`\n━━ Times\n${times.join('\n')}\n${seconds(started).padStart(8)}  in all`);
console.log(`\n${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed ? 1 : 0;
