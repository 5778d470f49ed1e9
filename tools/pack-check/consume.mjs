/**
 * @file Installs the packed packages into an empty folder, as a user would, and uses them there: from Node (the one that
 * started `npm test`, not the pinned one), from the command line, and in a browser bundle. Needs pack-check/lint.mjs first.
 */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { root, run } from '../process.mjs';
import { runBundle } from './bundle.mjs';
import { contentProblems } from './contents.mjs';
import { publishedPackages, tarballOf } from './packed.mjs';

const packages = publishedPackages();
const folder = mkdtempSync(path.join(tmpdir(), 'quaver-consumer-'));
const hostNode = process.env.QUAVER_HOST_NODE ?? process.execPath;

/** The user's environment: the checkout's tools off PATH, and nothing that npm tells the scripts which it runs. */
function userEnv() {
  const ours = path.join(root, 'node_modules');
  const search = (process.env.PATH ?? '').split(path.delimiter).filter((entry) => !entry.startsWith(ours));
  const env = { ...process.env, PATH: [path.dirname(hostNode), ...search].join(path.delimiter) };
  for (const name of Object.keys(env))
    if (/^(npm_(package|lifecycle)_|npm_config_(local_)?prefix$|INIT_CWD$|NODE_OPTIONS$|NODE_PATH$)/.test(name))
      delete env[name];
  return env;
}

const asUser = (command, ...args) => run(command, args, { cwd: folder, env: userEnv(), stdio: 'pipe' });

function mustSucceed({ code, stdout, output }, what) {
  if (code !== 0) throw new Error(`${what} ended with code ${code}:\n${output.trim()}`);
  return stdout;
}

/** A package.json that takes every @quaver package from its tarball, also where one depends on another. */
function consumerManifest() {
  const names = [...packages.keys()];
  const dependencies = names.map((name) => [name, `file:${tarballOf(packages.get(name).manifest)}`]);
  return {
    name: 'consumer',
    private: true,
    type: 'module',
    dependencies: Object.fromEntries(dependencies),
    overrides: Object.fromEntries(names.map((name) => [name, `$${name}`])),
  };
}

const counts = { passed: 0, failed: 0, skipped: 0 };

async function test(title, body) {
  try {
    const note = await body();
    counts.passed++;
    console.log(`✓ ${title}${note ? ` (${note})` : ''}`);
  } catch (error) {
    counts.failed++;
    console.log(`✗ ${title}\n${String(error.message).replace(/^/gm, '    ')}`);
  }
}

cpSync(fileURLToPath(new URL('consumer', import.meta.url)), folder, { recursive: true });
writeFileSync(path.join(folder, 'package.json'), JSON.stringify(consumerManifest(), null, 2));

await test('npm installs the tarballs into an empty folder', async () => {
  mustSucceed(await asUser('npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts'), 'npm install');
});
if (counts.failed === 0) {
  for (const [name, { manifest }] of packages) {
    const installed = path.join(folder, 'node_modules', ...name.split('/'));
    await test(`${name}: contents`, () => {
      const problems = contentProblems(installed);
      if (problems.length) throw new Error(problems.join('\n'));
    });
    await test(`${name}: every entry point loads and is used`, async () => {
      const subpaths = Object.entries(manifest.exports).filter(([, target]) => target.types);
      const specifiers = subpaths.map(([subpath]) => name + subpath.slice(1));
      return mustSucceed(await asUser(hostNode, 'node.mjs', ...specifiers), `node.mjs ${specifiers.join(' ')}`).trim();
    });
  }
  await test('npx quaver --version and npx quaver doctor --json', async () => {
    const quaver = async (...args) => {
      const result = await asUser('npx', '--no-install', 'quaver', ...args);
      return mustSucceed(result, `quaver ${args.join(' ')}`);
    };
    const { version } = packages.get('@quaver/cli').manifest;
    const printed = [(await quaver('--version')).trim(), JSON.parse(await quaver('doctor', '--json')).version];
    if (printed.some((each) => each !== version)) throw new Error(`expected ${version}, found: ${printed.join(', ')}`);
  });
  await test('a browser bundle of the portable packages runs without Node', () => runBundle(folder));
}

if (counts.failed === 0) rmSync(folder, { recursive: true, force: true });
else console.log(`The consumer is kept in ${folder}`);
if (process.env.QUAVER_TOTALS) writeFileSync(process.env.QUAVER_TOTALS, JSON.stringify(counts));
process.exitCode = counts.failed ? 1 : 0;
