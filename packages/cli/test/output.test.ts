import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { names, quaver, quaverJson, removeFolder, temporaryFolder, tinyCheckpoint } from './run-quaver.ts';

const folder = temporaryFolder();
afterAll(() => removeFolder(folder));

const commands = [
  'pull',
  'import',
  'compile',
  'inspect',
  'generate',
  'eval perplexity',
  'parity',
  'conformance',
  'export',
  'doctor',
];

it.each(commands)('quaver %s --help shows examples', async (command) => {
  const { code, stdout, stderr } = await quaver([...command.split(' '), '--help']);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toContain(`Usage: quaver ${command}`);
  expect(stdout).toContain('--json');
  expect(stdout).toMatch(/\nExamples:\n {2}quaver /);
});

it('--version is the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(await quaver(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
});

interface Doctor {
  readonly settings: Readonly<Record<string, string>>;
  readonly executors: readonly {
    readonly id: string;
    readonly devices: readonly { readonly id: string; readonly details: Readonly<Record<string, string | number>> }[];
    readonly error?: string;
    readonly hint?: string;
  }[];
  readonly hub?: object;
}

const doctor = (env: Readonly<Record<string, string>>) =>
  quaverJson<Doctor>(['doctor'], { env: { QUAVER_CPU_ISA: '', QUAVER_THREADS: '', ...env } });

it('doctor names the executors, their devices and the cache', async () => {
  const env = { QUAVER_CACHE: path.join(folder, 'no-cache') };
  const report = await doctor(env);
  expect(report).toMatchObject({
    node: process.versions.node,
    settings: {},
    cache: { path: env.QUAVER_CACHE, exists: false, bytes: 0 },
  });
  expect(report.executors.map(({ id, devices }) => [id, devices.length])).toEqual([
    ['cpu', 2],
    ['reference', 1],
    ['null', 1],
  ]);
  expect(report.executors[0]!.devices.map(({ id }) => id)).toEqual(['native', 'wasm']);
  expect(report.hub).toBeUndefined();
  const { isa, isas, addon, threads, threads_from } = report.executors[0]!.devices[0]!.details;
  expect(String(isas).split(', ')[0]).toBe(isa);
  expect(path.basename(String(addon))).toBe('quaver.node');
  expect([threads, threads_from]).toEqual([availableParallelism(), 'the processors that this process may use']);
  const { stdout } = await quaver(['doctor'], { env });
  expect(stdout).toContain('WebAssembly');
  expect(stdout).toContain(`addon: ${addon}\n`);
});

it('doctor shows the settings and what they do', async () => {
  const { settings, executors } = await doctor({ QUAVER_CPU_ISA: 'portable', QUAVER_THREADS: '3' });
  expect(settings).toEqual({ QUAVER_CPU_ISA: 'portable', QUAVER_THREADS: '3' });
  const details = { isa: 'portable', threads: 3, threads_from: 'QUAVER_THREADS' };
  expect(executors[0]!.devices[0]).toMatchObject({ id: 'native', details });
  const wasm = (await doctor({ QUAVER_CPU_ISA: 'wasm' })).executors[0]!.devices;
  expect(wasm).toMatchObject([{ id: 'wasm', details: { why_not_native: 'QUAVER_CPU_ISA is wasm' } }]);
});

it.each([
  [{ QUAVER_CPU_ISA: 'mmx' }, "QUAVER_CPU_ISA is 'mmx'", 'portable'],
  [{ QUAVER_THREADS: 'many' }, "QUAVER_THREADS is 'many'", 'Leave it out'],
])('doctor says what is wrong with %j, and goes on', async (env: Record<string, string>, error, hint) => {
  const { executors } = await doctor(env);
  expect(executors[0]).toMatchObject({ id: 'cpu', devices: [] });
  expect(executors[0]!.error).toContain(error);
  expect(executors[0]!.hint).toContain(hint);
  expect(executors[1]!.devices.length).toBe(1);
  const { code, stdout } = await quaver(['doctor'], { env });
  expect([code, stdout]).toEqual([0, expect.stringContaining(`not usable: ${error}`)]);
});

it('doctor --online says why the hub is out of reach', async () => {
  const env = { HF_ENDPOINT: 'http://127.0.0.1:9' };
  const { hub } = await quaverJson<{ hub: { reachable: boolean; reason: string } }>(['doctor', '--online'], { env });
  expect(hub).toMatchObject({ endpoint: env.HF_ENDPOINT, reachable: false });
  expect(hub.reason).not.toBe('');
});

it('pull downloads into the cache, once', async () => {
  const checkpoint = tinyCheckpoint(folder);
  const files = new Map(names(checkpoint).map((name) => [name, readFileSync(path.join(checkpoint, name))]));
  const server = createServer((request, response) => {
    const name = /\/resolve\/[^/]+\/(.+)$/.exec(request.url!)?.[1];
    const content = name === undefined ? undefined : files.get(name);
    const siblings = [...files].map(([rfilename, { length: size }]) => ({ rfilename, size }));
    response.end(content ?? JSON.stringify({ sha: '0123456789abcdef0123456789abcdef01234567', siblings }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const env = { HF_ENDPOINT: `http://127.0.0.1:${port}`, QUAVER_CACHE: path.join(folder, 'cache') };
  const first = await quaverJson<{ path: string; bytes: number }>(['pull', 'hf:ORG/MODEL'], { env });
  const bytes = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  expect(first).toMatchObject({ bytes, cached: false });
  expect(Object.keys(first)).toEqual(['path', 'sha256', 'bytes', 'cached']);
  expect(await quaverJson(['pull', 'hf:ORG/MODEL'], { env })).toEqual({ ...first, cached: true });
  const { stdout } = await quaver(['pull', 'hf:ORG/MODEL'], { env });
  expect(stdout).toBe(`${first.path}\n`);
  expect(names(first.path)).toEqual(expect.arrayContaining(['config.json', 'model.safetensors', 'tokenizer.json']));
});

it('writes no colours and no progress where nobody watches', async () => {
  const model = path.join(folder, 'model.qvr');
  const { stdout, stderr } = await quaver(['import', tinyCheckpoint(folder), '-o', model]);
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^.*model\.qvr: .*, llama, 37,920 parameters, context 128, .* in .*s\n$/);
  const inspected = await quaver(['inspect', model]);
  expect(inspected.stdout).not.toContain('\u001b');
});
