/** Well-formed FlatBuffers, written by flatc, that no module is: every check between structure and meaning. */
import { decodeModule, encodeModule, memorySource, readModuleBytes } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { flatcWrite } from './support/flatc.ts';
import { tinyModule } from './support/sample-modules.ts';

const attribute = (name: string, kind: string, value: unknown) => ({ name, value_type: `${kind}Attribute`, value });

/** One function, one parameter of 64 bytes, one state; reduce over an axis. */
const valid = {
  format_version: 1,
  name: 'm',
  opsets: [{ domain: 'core' }],
  ops: [{ domain: 'core', name: 'reduce' }],
  dim_expressions: ['B'],
  types: [{ dims: [-1, 16] }, { dims: [16] }],
  symbols: [{ name: 'B', min: 1 }],
  parameters: [{ name: 'w', type: 1, segment: 0 }],
  states: [{ name: 's', type: 1 }],
  functions: [
    {
      name: 'f',
      values: [
        { name: 'x' },
        { name: 'w', kind: 'parameter', type: 1, ref: 0 },
        { name: 's', kind: 'state', type: 1, ref: 0 },
        { name: 'y', kind: 'result', type: 1 },
      ],
      ...{ inputs: [0], parameters: [1], states: [2] },
      nodes: [
        {
          operands: [0],
          results: [3],
          attributes: [
            attribute('kind', 'String', { value: 'max' }),
            attribute('axes', 'Ints', { values: [0] }),
            attribute('keep', 'Bool', { value: false }),
          ],
        },
      ],
      outputs: [{ name: 'y', value: 3 }],
      updates: [{ ref: 0, value: 3 }],
      plan: { slots: [64], slot_of: [-1, -1, -1, 0] },
    },
  ],
  metadata: [{ key: 'a', value: '1' }],
  attachments: [{ name: 'file', segment: 1 }],
  segments: [{ byte_length: 64 }, { offset: 64, byte_length: 10 }],
};

type Json = typeof valid;

/** The file: what flatc makes of the JSON, zeros, and 128 bytes of data. */
async function fileOf(edit: (json: Json) => void): Promise<Uint8Array> {
  const json = structuredClone(valid);
  edit(json);
  const header = await flatcWrite(json);
  const file = new Uint8Array(Math.ceil(header.byteLength / 64) * 64 + 128);
  file.set(header);
  return file;
}

test('the unchanged one is a module', async () => {
  const module = readModuleBytes(await fileOf(() => {}));
  expect(module.parameters[0]!.data!.byteLength).toBe(64);
  expect(module.attachments.get('file')!.byteLength).toBe(10);
  expect(module.functions[0]!.plan).toEqual({ slots: [64], slotOf: { y: 0 } });
});

describe('refused', () => {
  const fn = (json: Json) => json.functions[0]!;
  const node = (json: Json) => fn(json).nodes[0]!;
  const set = (target: object, values: object) => Object.assign(target, values);

  test.each<[string, string, (json: Json) => void]>([
    ['module-index', 'type 2 is referenced, there are 2', (json) => set(json.states[0]!, { type: 2 })],
    ['module-index', 'type 9', (json) => set(fn(json).values[0]!, { type: 9 })],
    ['module-index', 'dimension 1 is referenced, there are 1', (json) => set(json.types[0]!, { dims: [-2] })],
    ['module-index', 'op 1 ', (json) => set(node(json), { op: 1 })],
    ['module-index', 'value 4 is referenced, there are 4', (json) => set(node(json), { operands: [4] })],
    ['module-index', 'value -2', (json) => set(node(json), { operands: [-2] })],
    ['module-index', 'value 99', (json) => set(fn(json).outputs[0]!, { value: 99 })],
    ['module-index', 'value 4294967295', (json) => set(fn(json), { inputs: [0xffff_ffff] })],
    ['module-index', 'state 1 ', (json) => set(fn(json).updates[0]!, { ref: 1 })],
    ['module-index', 'parameter 1 ', (json) => set(fn(json).updates[0]!, { ref: 1, target: 'parameter' })],
    ['module-index', 'parameter 1 ', (json) => set(fn(json).values[1]!, { ref: 1 })],
    ['module-index', 'segment 2 ', (json) => set(json.parameters[0]!, { segment: 2 })],
    ['module-index', 'segment 2 ', (json) => set(json.attachments[0]!, { segment: 2 })],
    ['module-index', 'value 4 ', (json) => set(fn(json).plan, { slot_of: [-1, -1, -1, 0, 0] })],
    [
      'module-integer',
      'the dimension 9007199254740992 is beyond 2^53',
      (json) => set(json.types[0]!, { dims: [2 ** 53] }),
    ],
    [
      'module-integer',
      'the attribute',
      (json) => set(node(json), { attributes: [attribute('axes', 'Ints', { values: [-(2 ** 60)] })] }),
    ],
    ['module-integer', 'the symbol max', (json) => set(json.symbols[0]!, { max: 2 ** 62 })],
    ['module-type', 'a type has rank 17', (json) => set(json.types[0]!, { dims: new Array(17).fill(1) })],
    ['module-duplicate-key', 'a, a', (json) => set(json, { metadata: [json.metadata[0], json.metadata[0]] })],
    [
      'module-duplicate-key',
      'axes, axes',
      (json) => set(node(json), { attributes: new Array(2).fill(node(json).attributes[1]) }),
    ],
    [
      'module-duplicate-key',
      'k, k',
      (json) => set(node(json), { annotations: new Array(2).fill({ key: 'k', value: '' }) }),
    ],
    [
      'module-duplicate-key',
      "the attachment 'file' is stored twice",
      (json) => set(json, { attachments: new Array(2).fill(json.attachments[0]) }),
    ],
    ['module-segment', 'inside another', (json) => set(json.segments[1]!, { offset: 0 })],
    ['module-segment', 'is not a multiple of 64', (json) => set(json.segments[1]!, { offset: 72 })],
    ['module-segment', 'has a digest of 3 bytes', (json) => set(json.segments[1]!, { sha256: [1, 2, 3] })],
    [
      'module-segment',
      "the parameter 'w' has both",
      (json) => set(json.parameters[0]!, { external: { uri: 'a', key: 'b', sha256: 'c' } }),
    ],
    ['module-truncated', 'segment 1 ends at byte', (json) => set(json.segments[1]!, { byte_length: 65 })],
    [
      'module-truncated',
      'segment 1 ends at byte',
      (json) => set(json.segments[1]!, { offset: '18446744073709551552' }),
    ],
    ['verify-parameter', 'its data has 10', (json) => set(json.parameters[0]!, { segment: 1 })],
    ['verify-kind', '%x', (json) => set(fn(json).values[0]!, { kind: 'result' })],
    ['verify-single-producer', '%y', (json) => set(node(json), { results: [3, 3] })],
    ['verify-reference', "the module has no parameter ''", (json) => set(fn(json).values[1]!, { ref: null })],
    ['verify-attributes', "'keep' is not stored", (json) => void node(json).attributes.pop()],
    ['verify-plan', 'its slot has 63', (json) => set(fn(json).plan, { slots: [63] })],
    ['verify-plan', 'is not the result of a node', (json) => set(fn(json).plan, { slot_of: [0] })],
    ['module-version', 'core@3, this release knows up to 1', (json) => set(json.opsets[0]!, { version: 3 })],
  ])('%s: %s', async (code, message, edit) => {
    const file = await fileOf(edit);
    const error = ((): unknown => {
      try {
        return readModuleBytes(file, { name: 'made by flatc' });
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toBeInstanceOf(QuaverError);
    expect((error as QuaverError).message).toContain(message);
    expect((error as QuaverError).message).toMatch(/^made by flatc: /);
    expect((error as QuaverError).code).toBe(code);
  });

  test('both files of a segment of no bytes may lie anywhere', async () => {
    const file = await fileOf((json) => set(json.segments[1]!, { offset: 0, byte_length: 0 }));
    expect(readModuleBytes(file).attachments.get('file')!.byteLength).toBe(0);
  });
});

test('what was decoded does not change with the bytes it was decoded from', () => {
  const { header } = encodeModule(tinyModule());
  const bytes = new Uint8Array(header.byteLength + 64);
  bytes.set(header);
  const { info } = decodeModule(bytes, memorySource(bytes));
  bytes.fill(0xff);
  expect(info.segments[0]!.sha256).toEqual(new Uint8Array(32));
});
