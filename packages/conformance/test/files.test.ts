import { parseSkipList, type ReadVectorFile, readIndex, readManifest, runConformance } from '@quaver/conformance';
import { packagedVectors } from '@quaver/conformance/node';
import { referencePlugin } from '@quaver/executor';
import { expect, test } from 'vitest';

const serve =
  (files: Readonly<Record<string, object | string>>): ReadVectorFile =>
  async (name) => {
    const file = files[name];
    if (file === undefined) return packagedVectors(name);
    return new TextEncoder().encode(typeof file === 'string' ? file : JSON.stringify(file));
  };

const reference = { tensor: 'x', dtype: 'f32', shape: [2] };
const sound = { name: 'a', operands: [reference], attributes: {}, results: [reference], tolerance: 'bits' };
const head = { format: 1, domain: 'core', op: 'negate', version: 1, tensors: 'negate.safetensors' };

test('the files of the package are read', async () => {
  const names = await readIndex(packagedVectors);
  expect(names).toContain('scaled_dot.json');
  const { op, version, cases } = await readManifest(packagedVectors, 'scaled_dot.json');
  expect([op, version]).toEqual(['scaled_dot', 1]);
  for (const layout of ['forward', 'dgrad', 'wgrad'])
    expect(cases.some(({ name }) => name.startsWith(layout))).toBe(true);
});

test.each<[string, object | string]>([
  ['not JSON', '{'],
  ['another format', { ...head, format: 2, cases: [] }],
  ['no op', { ...head, op: undefined, cases: [] }],
  ['no cases', head],
  ['a case without a name', { ...head, cases: [{ ...sound, name: undefined }] }],
  ['no results', { ...head, cases: [{ ...sound, results: undefined }] }],
  ['a dtype that is none', { ...head, cases: [{ ...sound, results: [{ ...reference, dtype: 'f33' }] }] }],
  ['a negative size', { ...head, cases: [{ ...sound, operands: [{ ...reference, shape: [-1] }] }] }],
  ['a tolerance that is none', { ...head, cases: [{ ...sound, tolerance: { percent: 1 } }] }],
])('a manifest with %s is refused', async (_, manifest) => {
  const read = serve({ 'negate.json': manifest });
  await expect(readManifest(read, 'negate.json')).rejects.toMatchObject({
    code: 'vectors-invalid',
    where: { file: 'negate.json' },
  });
});

test('an index without manifests, and a tensor that is not there, are errors that name the file', async () => {
  await expect(readIndex(serve({ 'index.json': { format: 1 } }))).rejects.toMatchObject({ code: 'vectors-invalid' });
  const vectors = serve({
    'index.json': { format: 1, manifests: ['negate.json'] },
    'negate.json': { ...head, cases: [sound] },
  });
  const report = await runConformance(referencePlugin(), { vectors, filter: 'negate/' });
  expect(report.cases[0]).toMatchObject({ status: 'failed' });
  expect(report.cases[0]!.reason).toContain('tensor "x" is not there, expected f32[2]');
});

test('a skip list has a reason for every pattern', () => {
  expect(parseSkipList('{"add/*": "why"}', 'file')).toEqual({ 'add/*': 'why' });
  for (const text of ['{', '[]', '"text"', 'null', '{"add/*": ""}', '{"add/*": 1}']) {
    expect(() => parseSkipList(text, 'file')).toThrow(expect.objectContaining({ code: 'skip-list-invalid' }));
  }
});

test('without a filter, a pattern of the skip list that names no case is a failure', async () => {
  const vectors = serve({ 'index.json': { format: 1, manifests: ['abs.json'] } });
  const report = await runConformance(referencePlugin(), { vectors, skipList: { 'gone/(*)': 'was renamed' } });
  expect(report.cases.filter(({ status }) => status === 'failed')).toEqual([
    expect.objectContaining({ name: 'skip list: gone/(*)' }),
  ]);
});
