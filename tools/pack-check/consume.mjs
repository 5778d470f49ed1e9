/**
 * @file Installs the packed packages into an empty folder, as a user would, and uses them there: from Node (the one that
 * started `npm test`, not the pinned one), from the command line, and in a browser bundle. Then the SDK alone, with and without
 * the optional package of this platform. Needs pack-check/lint.mjs first.
 */
import { cpSync, lstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { pinnedNode, root, run } from '../process.mjs';
import { runBundle } from './bundle.mjs';
import { contentProblems } from './contents.mjs';
import { platformPackages, publishedPackages, tarballOf } from './packed.mjs';

const packages = publishedPackages();
const platforms = platformPackages();
const scratch = mkdtempSync(path.join(tmpdir(), 'quaver-consumer-'));
/** Beside the folder of the SDK alone: what is installed in one is not to be found from the other. */
const folder = path.join(scratch, 'everything');
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

const runAsUser = (cwd, command, ...args) => run(command, args, { cwd, env: userEnv(), stdio: 'pipe' });
const asUser = (command, ...args) => runAsUser(folder, command, ...args);

function mustSucceed({ code, stdout, output }, what) {
  if (code !== 0) throw new Error(`${what} ended with code ${code}:\n${output.trim()}`);
  return stdout;
}

/** A package.json that takes the packages, and every @quaver package that they depend on, from the tarballs. */
function consumerManifest(names) {
  const file = (manifest) => [manifest.name, `file:${tarballOf(manifest)}`];
  return {
    name: 'consumer',
    private: true,
    type: 'module',
    dependencies: Object.fromEntries(names.map((name) => file(packages.get(name).manifest))),
    overrides: Object.fromEntries([...packages.values(), ...platforms].map(({ manifest }) => file(manifest))),
  };
}

async function install(cwd, ...flags) {
  const npm = ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...flags];
  mustSucceed(await runAsUser(cwd, 'npm', ...npm), `npm ${npm.join(' ')}`);
}

/** Everything that a user gets who installs `@quaver/sdk`. */
const mostMegabytes = 30;

const fileBytes = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + lstatSync(path.join(entry.parentPath, entry.name)).size, 0);

/** The device that the CPU executor opens there, after it has computed something, and the warnings that came. */
async function engineOn(node, cwd) {
  return JSON.parse(mustSucceed(await runAsUser(cwd, node, 'engine.mjs'), `engine.mjs on ${node}`));
}

async function testSdkAlone(cwd) {
  const host = platforms.find(({ isHost }) => isHost);
  cpSync(path.join(folder, 'engine.mjs'), path.join(cwd, 'engine.mjs'), { recursive: true });
  writeFileSync(path.join(cwd, 'package.json'), JSON.stringify(consumerManifest(['@quaver/sdk']), null, 2));
  await test(`npm install @quaver/sdk takes less than ${mostMegabytes} MB`, async () => {
    await install(cwd);
    const megabytes = fileBytes(path.join(cwd, 'node_modules')) / 1e6;
    if (megabytes >= mostMegabytes) throw new Error(`it takes ${megabytes.toFixed(1)} MB`);
    return `${megabytes.toFixed(1)} MB, of which the native engine ${(fileBytes(host.folder) / 1e6).toFixed(1)} MB`;
  });
  const installed = path.join(cwd, 'node_modules', ...host.manifest.name.split('/'));
  await test(`${host.manifest.name}: contents`, () => {
    const problems = contentProblems(installed);
    if (problems.length) throw new Error(problems.join('\n'));
  });
  for (const node of new Set([hostNode, pinnedNode()])) {
    await test(`the native engine runs on ${node === hostNode ? 'the Node of the user' : 'the pinned Node'}`, async () => {
      const { id, name, warnings, node: version } = await engineOn(node, cwd);
      if (id !== 'native' || warnings.length > 0) throw new Error(`${name}: ${JSON.stringify(warnings)}`);
      return `${name}, Node ${version}`;
    });
  }
  await test('without optional packages WebAssembly computes, and one notice says why', async () => {
    await install(cwd, '--omit=optional');
    const { id, name, details, warnings } = await engineOn(hostNode, cwd);
    const codes = warnings.map(({ code }) => code).join();
    if (id !== 'wasm' || codes !== 'QUAVER_NATIVE_FALLBACK') throw new Error(`${name}: ${JSON.stringify(warnings)}`);
    return details.why_not_native;
  });
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
writeFileSync(path.join(folder, 'package.json'), JSON.stringify(consumerManifest([...packages.keys()]), null, 2));

await test('npm installs the tarballs into an empty folder', () => install(folder));
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
  await testSdkAlone(path.join(scratch, 'sdk'));
}

if (counts.failed === 0) rmSync(scratch, { recursive: true, force: true });
else console.log(`The consumers are kept in ${scratch}`);
if (process.env.QUAVER_TOTALS) writeFileSync(process.env.QUAVER_TOTALS, JSON.stringify(counts));
process.exitCode = counts.failed ? 1 : 0;
