/** @file What happens where the native engine is missing or does not load: WebAssembly, and one notice that says why. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const platform = `${process.platform}-${process.arch}`;
const platformPackage = `@quaver/executor-cpu-${platform}`;
const addonFile = pathOf(`../npm/${platform}/quaver.node`);

/** A copy of the package as it is installed: sources instead of dist, and no sources of the native engine. */
const folder = mkdtempSync(path.join(tmpdir(), 'quaver-fallback-'));
const installed = path.join(folder, 'node_modules', platformPackage);
const version = JSON.parse(readFileSync(pathOf('../package.json'), 'utf8')).version as string;

const script = `
import { cpuPlugin } from './executor-cpu/src/index.ts';
const warnings = [];
process.on('warning', ({ code, message }) => code && warnings.push({ code, message }));
const [first] = await cpuPlugin.listDevices();
for (let i = 0; i < 2; i++) {
  await using executor = await cpuPlugin.open();
  const buffer = executor.allocate(4, 'input');
  await executor.upload(buffer, Uint8Array.of(1, 2, 3, 4));
  console.assert((await executor.download(buffer))[3] === 4);
}
await new Promise((resolve) => setTimeout(resolve, 10));
console.log(JSON.stringify({ device: first, warnings }));
`;

beforeAll(() => {
  for (const name of ['src', 'wasm', 'package.json'])
    cpSync(pathOf(`../${name}`), path.join(folder, 'executor-cpu', name), { recursive: true });
  mkdirSync(path.join(folder, 'node_modules/@quaver'), { recursive: true });
  for (const name of ['executor', 'ir', 'numerics'])
    symlinkSync(pathOf(`../../${name}`), path.join(folder, 'node_modules/@quaver', name), 'junction');
  writeFileSync(path.join(folder, 'use.mjs'), script);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly device: { readonly id: string; readonly details: Readonly<Record<string, string | number>> };
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
}

/** What the package of the platform has in it; undefined: it is not installed. */
interface Installed {
  readonly addon?: Uint8Array;
  readonly version?: string;
  /** JavaScript in the addon's place. */
  readonly fake?: string;
}

interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
  /** JavaScript that runs first. */
  readonly before?: string;
}

async function outcomeOf(content: Installed | undefined, { env, before = '' }: Surroundings = {}): Promise<Outcome> {
  rmSync(installed, { recursive: true, force: true });
  if (content) {
    const main = content.fake === undefined ? 'quaver.node' : 'quaver.cjs';
    mkdirSync(installed, { recursive: true });
    writeFileSync(path.join(installed, main), content.fake ?? content.addon ?? readFileSync(addonFile));
    const manifest = { name: platformPackage, version: content.version ?? version, main };
    writeFileSync(path.join(installed, 'package.json'), JSON.stringify(manifest));
  }
  writeFileSync(path.join(folder, 'before.mjs'), before);
  const flags = [
    '--conditions=@quaver/source',
    '--experimental-transform-types',
    '--disable-warning=ExperimentalWarning',
  ];
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, '--import=./before.mjs', 'use.mjs'], {
    cwd: folder,
    // Without NODE_PATH, in which pnpm's commands name the packages of the checkout.
    env: { ...process.env, NODE_PATH: '', QUAVER_CPU_ISA: '', QUAVER_THREADS: '1', ...env },
  });
  return JSON.parse(stdout) as Outcome;
}

const quiet = { warnings: [] };

it('loads the addon of the package, and says nothing', async () => {
  const { device, warnings } = await outcomeOf({});
  expect(device).toMatchObject({ id: 'native', details: { addon: path.join(installed, 'quaver.node') } });
  expect(warnings).toEqual([]);
});

/** The addon with another processor in its header (ELF, Mach-O). */
function foreign(): Uint8Array {
  const bytes = new Uint8Array(readFileSync(addonFile));
  const at = process.platform === 'darwin' ? 4 : 18;
  bytes[at] = bytes[at]! ^ 0x55;
  return bytes;
}

const refusal = `throw Object.assign(new Error('this JavaScript engine cannot see memory from outside'), { code: 'external-memory' })`;
const electron = `module.exports = { isas: () => ['avx2'], open: () => ({}), close() {}, allocate() { ${refusal} } };`;

it.each<[string, Installed | undefined, RegExp]>([
  ['is not installed', undefined, /is not installed/],
  ['is garbage', { addon: new TextEncoder().encode('<html>404</html>') }, /does not load/],
  ['is cut off', { addon: readFileSync(addonFile).subarray(0, 40) }, /does not load/],
  ['is for another processor', { addon: foreign() }, /does not load/],
  ['is of another version', { version: '9.9.9' }, /is version 9\.9\.9/],
  ['gets no memory from the runtime', { fake: electron }, /cannot see memory from outside/],
  ['is another module', { fake: 'module.exports = {};' }, /isas is not a function/],
])('an addon that %s leads to WebAssembly and one notice', async (_, content, reason) => {
  const { device, warnings } = await outcomeOf(content);
  const remedy = `npm install ${platformPackage}@${version} brings it.`;
  expect(device).toMatchObject({ id: 'wasm', details: { why_not_native: expect.stringMatching(reason), remedy } });
  const message = expect.stringMatching(/^the CPU executor runs in WebAssembly.*brings it\.$/);
  expect(warnings).toEqual([{ code: 'QUAVER_NATIVE_FALLBACK', message }]);
  expect(warnings[0]!.message).toMatch(reason);
});

it('WebAssembly that was asked for needs no notice', async () => {
  const outcome = await outcomeOf({ addon: Uint8Array.of(1) }, { env: { QUAVER_CPU_ISA: 'wasm' } });
  expect(outcome).toMatchObject({ device: { id: 'wasm', details: { why_not_native: 'QUAVER_CPU_ISA is wasm' } } });
  expect(outcome).toMatchObject(quiet);
});

it('platforms without a package run WebAssembly as a matter of course', async () => {
  const elsewhere = `Object.defineProperty(process, 'platform', { value: 'freebsd' });`;
  const outcome = await outcomeOf(undefined, { before: elsewhere });
  expect(outcome.device.details.why_not_native).toBe(`there is no native engine for freebsd-${process.arch}`);
  expect(outcome).toMatchObject(quiet);
});

it('so do systems with another C library', async () => {
  const musl = `process.report.getReport = () => ({ header: {} });
    Object.defineProperty(process, 'platform', { value: 'linux' });
    Object.defineProperty(process, 'arch', { value: 'x64' });`;
  const outcome = await outcomeOf(undefined, { before: musl });
  expect(outcome.device.details.why_not_native).toBe('the native engine for linux-x64 needs the C library glibc');
  expect(outcome).toMatchObject(quiet);
});
