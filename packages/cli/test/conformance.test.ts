import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { names, quaver, quaverJson, removeFolder, start, temporaryFolder, tinyCheckpoint } from './run-quaver.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);
afterAll(() => removeFolder(folder));

interface Report {
  readonly executor: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly unsupported: number;
  readonly cases: readonly { readonly name: string; readonly status: string; readonly reason?: string }[];
}

/** A stranger's executor: the reference under another name, with what `changes` says done differently. */
const stranger = (changes: string, exported = 'export default plugin;') => `
import { referencePlugin } from '@quaver/executor';

const changes = (real) => (${changes});

const plugin = {
  apiVersion: 1,
  id: 'mine',
  listDevices: async () => [{ id: 'mine', name: 'mine', details: {} }],
  async open({ signal } = {}) {
    const real = await referencePlugin().open({ signal });
    const mine = { id: 'mine', ...changes(real) };
    return new Proxy(real, {
      get(_, key) {
        if (key in mine) return mine[key];
        const value = real[key];
        return typeof value === 'function' ? value.bind(real) : value;
      },
    });
  },
};

${exported}
`;

const flipsOneBit = `{
  async download(buffer) {
    const bytes = await real.download(buffer);
    if (bytes.length > 0) bytes[0] ^= 1;
    return bytes;
  },
}`;

beforeAll(() => {
  // What npm install @quaver/executor does.
  mkdirSync(at('node_modules/@quaver'), { recursive: true });
  symlinkSync(fileURLToPath(new URL('../../executor', import.meta.url)), at('node_modules/@quaver/executor'));
  writeFileSync(at('package.json'), '{"type": "module"}');
  writeFileSync(at('sound.js'), stranger('{}', 'export { plugin };'));
  writeFileSync(at('broken.js'), stranger(flipsOneBit));
  writeFileSync(at('liar.js'), stranger('{ supports: () => ({ ok: true, native: true }) }'));
  writeFileSync(at('hangs.js'), stranger(`(console.error('opened'), { wait: () => new Promise(() => {}) })`));
  const open = (body: string) =>
    `export default { apiVersion: 1, id: 'x', listDevices: async () => [], open: ${body} };`;
  writeFileSync(at('never-opens.js'), open('() => new Promise(() => {})'));
  writeFileSync(at('cannot-open.js'), open('() => { throw new Error("cannot open"); }'));
  writeFileSync(at('not-a-plugin.js'), 'export default { id: 7 };');
  writeFileSync(at('throws.js'), 'throw new Error("not today");');
});

const conformance = (...args: string[]) => quaver(['conformance', ...args], { cwd: folder });
const json = (...args: string[]) => quaverJson<Report>(['conformance', ...args], { cwd: folder });

it('reports on an executor of the SDK', async () => {
  const report = await json('--executor', 'cpu', '--filter', 'softmax/');
  expect(Object.keys(report)).toEqual(['executor', 'passed', 'failed', 'skipped', 'unsupported', 'cases']);
  expect(report).toMatchObject({ executor: 'cpu', failed: 0, skipped: 0, unsupported: 0 });
  expect(report.cases.length).toBe(report.passed);
  expect(report.cases[0]).toMatchObject({ name: 'log_softmax/4x37 along axis 1', op: 'log_softmax', status: 'passed' });
});

it("tests a stranger's executor", async () => {
  const sound = await conformance('--executor', './sound.js', '--filter', 'behaviour/aliasing');
  expect(sound).toMatchObject({ code: 0, stdout: 'mine: 4 passed, 0 failed, 0 skipped, 0 unsupported\n', stderr: '' });
  const broken = await conformance(
    '--executor',
    './broken.js',
    '--filter',
    'rope/1x1x1x2, 2 rotated, from',
    '--report',
    'report.json',
  );
  expect(broken.code).toBe(1);
  expect(broken.stdout).toContain(
    '✗ rope/1x1x1x2, 2 rotated, from 19\n    y: 1 of 2 elements differ, by 1 ULP at most',
  );
  expect(broken.stdout).toContain('mine: 0 passed, 2 failed, 0 skipped, 0 unsupported');
  expect(JSON.parse(readFileSync(at('report.json'), 'utf8'))).toMatchObject({ executor: 'mine', failed: 2 });
});

it('an executor that claims what it cannot do fails, and the rest of it is tested', async () => {
  const { code, stdout } = await conformance('--executor', './liar.js', '--filter', 'attention/f32', '--json');
  const report = JSON.parse(stdout) as Report;
  expect([code, report.passed > 0, report.failed]).toEqual([1, true, report.passed]);
  expect(report.cases.filter(({ name }) => name.endsWith('(body)')).every(({ status }) => status === 'passed')).toBe(
    true,
  );
});

it('a skip list says which failures are known; an unexpected pass fails', async () => {
  writeFileSync(at('skips.json'), '{"rope/*": "the lowest bit is wrong"}');
  const skip = ['--skip', 'skips.json', '--filter', 'rope/1x1x1x2, 2 rotated, from'];
  expect(await json('--executor', './broken.js', ...skip)).toMatchObject({ passed: 0, failed: 0, skipped: 2 });
  const { code, stdout } = await conformance('--executor', './sound.js', ...skip);
  expect(code).toBe(1);
  expect(stdout).toContain('unexpected pass; the skip list says: the lowest bit is wrong');
});

it.each([
  [['--executor', './no-such-file.js'], 1, 'executor-load-failed'],
  [['--executor', './throws.js'], 1, 'executor-load-failed'],
  [['--executor', './not-a-plugin.js'], 1, 'executor-plugin-invalid'],
  [['--executor', 'no-such-package'], 1, 'executor-unknown'],
  [['--executor', 'null'], 2, 'usage'],
  [['--executor', './never-opens.js', '--case-timeout', '0.2'], 1, 'executor-plugin-invalid'],
  [['--executor', './cannot-open.js'], 1, 'executor-plugin-failed'],
  [['--case-timeout', '1e9'], 1, 'conformance-timeout'],
  [['--filter', 'no such case'], 1, 'conformance-filter'],
  [['--skip', 'no-such-file.json'], 1, 'file-not-found'],
  [['--skip', 'sound.js'], 1, 'skip-list-invalid'],
  [['--report', '.'], 1, 'file-is-directory'],
  [['--report', 'sound.js', '--executor', './sound.js'], 2, 'usage'],
])('%j is an error with a code', async (args, exitCode, code) => {
  const { code: found, stdout } = await conformance(...args, '--json');
  expect([found, JSON.parse(stdout).error.code]).toEqual([exitCode, code]);
});

it('a command that nobody answers any more ends with an error', async () => {
  await quaverJson(['import', tinyCheckpoint(folder), '-o', at('model.qvr')]);
  const generating = ['generate', at('model.qvr'), '--prompt', 'x', '--executor', './never-opens.js', '--json'];
  const { code, stdout } = await quaver(generating, { cwd: folder });
  expect([code, JSON.parse(stdout).error.code]).toEqual([1, 'never-answered']);
});

it('Ctrl-C stops it, also when the executor hangs', async () => {
  const before = names(folder);
  const { child, finished } = start(['conformance', '--executor', './hangs.js', '--report', 'hung.json'], {
    cwd: folder,
  });
  await new Promise((resolve) => child.stderr!.once('data', resolve));
  child.kill('SIGINT');
  const { code, stdout, stderr } = await finished;
  expect([code, stdout]).toEqual([130, '']);
  expect(stderr).toContain('Stopped. Nothing unfinished was left behind.');
  expect(names(folder)).toEqual(before);
});
