/** The FlatBuffer inside a file: agreement with flatc, and every rule of the structural verifier. */
import { decodeModule, encodeModule, type Module, memorySource, printModule, readModuleBytes } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { Builder } from 'flatbuffers';
import { describe, expect, test } from 'vitest';
import type { BinarySchema } from '../src/file/binary-schema.ts';
import { peekRootField, verifyStructure } from '../src/file/verify-structure.ts';
import { graphSchema } from '../src/gen/schema.ts';
import { flatcRead, flatcWrite } from './support/flatc.ts';
import { decoderModule, moduleOf, tinyModule } from './support/sample-modules.ts';

/** The header of a module without its padding. */
function headerOf(module: Module): Uint8Array<ArrayBuffer> {
  const { header } = encodeModule(module);
  return header.slice(0, 4 + new DataView(header.buffer).getUint32(0, true));
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'accepted';
  } catch (error) {
    if (error instanceof QuaverError) return error.code;
    throw error;
  }
}

describe('flatc', () => {
  test('verifies and reads our headers', async () => {
    const json = await flatcRead(headerOf(tinyModule()));
    expect(json).toMatchObject({
      format_version: 1,
      name: 'tiny',
      opsets: [{ domain: 'core' }],
      symbols: [{ name: 'B', min: 1, max: 8 }, { name: 'T' }, { name: 'S', min: 128, max: 2048, multiple: 128 }],
      parameters: [{ name: 'w', trainable: true, segment: 0 }],
      segments: [{ byte_length: 16 }],
    });
    const [fn] = json.functions as { values: { name: string; kind?: string }[]; nodes: { attributes: unknown[] }[] }[];
    expect(fn!.values.map(({ name, kind }) => [name, kind ?? 'input'])).toEqual([
      ['x', 'input'],
      ['w', 'parameter'],
      ['broadcast_in_dim', 'result'],
      ['add', 'result'],
    ]);
    expect(fn!.nodes[0]!.attributes).toEqual([
      { name: 'shape', value_type: 'DimsAttribute', value: { values: [-1, 4] } },
      { name: 'dims', value_type: 'IntsAttribute', value: { values: [1] } },
    ]);
    expect((await flatcRead(headerOf(decoderModule(2)))).states).toHaveLength(4);
  });

  test('writes headers that we read', async () => {
    const header = await flatcWrite({
      format_version: 1,
      name: 'from flatc',
      opsets: [{ domain: 'core' }],
      ops: [{ domain: 'core', name: 'reduce' }],
      dim_expressions: ['B', 'ceildiv(B,128)'],
      types: [{ dims: [-1, 64] }, { dims: [64] }, { dtype: 'bf16', dims: [-2] }],
      symbols: [{ name: 'B', min: 1 }],
      states: [{ name: 's', type: 2 }],
      functions: [
        {
          name: 'f',
          values: [{ name: 'x' }, { name: 'y', kind: 'result', type: 1 }],
          inputs: [0],
          nodes: [
            {
              operands: [0],
              results: [1],
              location: 'here',
              attributes: [
                { name: 'kind', value_type: 'StringAttribute', value: { value: 'max' } },
                { name: 'axes', value_type: 'IntsAttribute', value: { values: [0] } },
                { name: 'keep', value_type: 'BoolAttribute', value: { value: false } },
              ],
            },
          ],
          outputs: [{ name: 'out', value: 1 }],
        },
      ],
      metadata: [{ key: 'a', value: 'b' }],
    });
    expect(printModule(readModuleBytes(header))).toBe(
      [
        'quaver 1 opset core@1',
        'module "from flatc"',
        'symbol B 1..',
        'state "s": bf16[ceildiv(B,128)]',
        'metadata "a" = "b"',
        '',
        'func @f(%x: f32[B,64]) -> (out: f32[64]) {',
        '  %y = reduce(%x) {kind=max, axes=[0], keep=false} : f32[64] loc("here")',
        '  return %y',
        '}',
        '',
      ].join('\n'),
    );
  });
});

describe('each byte of a header', () => {
  const header = headerOf(tinyModule());
  const source = (size: number) => memorySource(new Uint8Array(size + 4096), 'm');

  test('may be cut off anywhere', () => {
    for (let end = 0; end < header.byteLength; end++) {
      expect(codeOf(() => decodeModule(header.subarray(0, end), source(end)))).toMatch(/^module-/);
      const shortened = header.slice(0, end);
      if (end >= 4) new DataView(shortened.buffer).setUint32(0, end - 4, true);
      const isPadding = end > header.byteLength - 4;
      expect(codeOf(() => decodeModule(shortened, source(end)))).toMatch(
        isPadding ? /^(accepted|module-)/ : /^module-/,
      );
    }
  });

  test('may hold any value without another kind of error', () => {
    const outcomes = new Set<string>();
    for (let i = 0; i < header.byteLength; i++) {
      for (const value of [0, 1, 2, 4, 0x7f, 0x80, 0xff, header[i]! ^ 1, header[i]! ^ 0x20]) {
        const damaged = header.slice();
        damaged[i] = value;
        outcomes.add(codeOf(() => decodeModule(damaged, source(header.byteLength))));
      }
    }
    for (const code of outcomes) expect(code).toMatch(/^(accepted|module-|verify-|op-unknown)/);
    expect(outcomes).toContain('module-structure');
    expect(outcomes).toContain('module-identifier');
    expect(outcomes).toContain('module-version');
  });
});

const node: BinarySchema = {
  identifier: 'TEST',
  root: 'Node',
  tables: {
    Node: [
      { name: 'number', slot: 4, required: false, type: { kind: 'scalar', size: 8 } },
      { name: 'name', slot: 6, required: false, type: { kind: 'string' } },
      { name: 'left', slot: 8, required: false, type: { kind: 'table', table: 'Node' } },
      { name: 'right', slot: 10, required: false, type: { kind: 'table', table: 'Node' } },
      { name: 'tag', slot: 12, required: false, type: { kind: 'scalar', size: 1, members: [0, 1, 2] } },
      { name: 'union', slot: 14, required: false, type: { kind: 'union', tag: 12, members: { 1: 'Node', 2: 'Leaf' } } },
      { name: 'longs', slot: 16, required: false, type: { kind: 'vector', of: { kind: 'scalar', size: 8 } } },
      {
        name: 'flags',
        slot: 18,
        required: false,
        type: { kind: 'vector', of: { kind: 'scalar', size: 1, members: [0, 1] } },
      },
    ],
    Leaf: [{ name: 'must', slot: 4, required: true, type: { kind: 'string' } }],
  },
};

/** A buffer of the schema above; `build` returns the root table. */
function buffer(build: (b: Builder) => number): Uint8Array {
  const b = new Builder(256);
  b.finish(build(b), 'TEST');
  return b.asUint8Array().slice();
}

function table(b: Builder, fields: (b: Builder) => void): number {
  b.startObject(8);
  fields(b);
  return b.endObject();
}

const verify = (bytes: Uint8Array) => codeOf(() => verifyStructure(node, bytes, 0));

/** The message, which names table and field. */
function refusal(bytes: Uint8Array): string {
  try {
    verifyStructure(node, bytes, 0);
    return 'accepted';
  } catch (error) {
    return (error as Error).message;
  }
}

describe('the structural verifier', () => {
  test('accepts shared vtables and moderately deep trees', () => {
    const bytes = buffer((b) => {
      let child = table(b, (t) => t.addFieldInt64(0, 7n, 0n));
      for (let i = 0; i < 60; i++) {
        const inner = child;
        child = table(b, (t) => t.addFieldOffset(2, inner, 0));
      }
      return child;
    });
    expect(verify(bytes)).toBe('accepted');
  });

  test('refuses trees deeper than 64', () => {
    const bytes = buffer((b) => {
      let child = table(b, () => {});
      for (let i = 0; i < 66; i++) {
        const inner = child;
        child = table(b, (t) => t.addFieldOffset(2, inner, 0));
      }
      return child;
    });
    expect(refusal(bytes)).toContain('nested more than 64 deep');
  });

  test('refuses shared children that would double the work at each level, quickly', () => {
    const bytes = buffer((b) => {
      let child = table(b, () => {});
      for (let i = 0; i < 50; i++) {
        const inner = child;
        child = table(b, (t) => {
          t.addFieldOffset(2, inner, 0);
          t.addFieldOffset(3, inner, 0);
        });
      }
      return child;
    });
    const start = performance.now();
    expect(refusal(bytes)).toContain('referenced again and again');
    expect(performance.now() - start).toBeLessThan(100);
  });

  test.each<[string, (view: DataView, at: { root: number; field: (slot: number) => number }) => void, string]>([
    ['a root offset outside', (view) => view.setUint32(0, 0x7ffffff0, true), 'Node.root'],
    ['a root offset of zero', (view) => view.setUint32(0, 0, true), 'not a forward reference'],
    ['an unaligned root', (view, { root }) => view.setUint32(0, root + 2, true), 'not aligned'],
    ['a vtable before the buffer', (view, { root }) => view.setInt32(root, 0x7fffffff, true), 'outside the header'],
    ['a vtable after the buffer', (view, { root }) => view.setInt32(root, -0x7ffffff0, true), 'outside the header'],
    [
      'an odd vtable size',
      (view, { root }) => view.setUint16(root - view.getInt32(root, true), 21, true),
      'the vtable has 21 bytes',
    ],
    [
      'a huge vtable',
      (view, { root }) => view.setUint16(root - view.getInt32(root, true), 0xfffe, true),
      'outside the header',
    ],
    [
      'a table too small for its fields',
      (view, { root }) => view.setUint16(root - view.getInt32(root, true) + 2, 6, true),
      'outside its table',
    ],
    [
      'a field offset into the vtable offset',
      (view, { root }) => view.setUint16(root - view.getInt32(root, true) + 4, 2, true),
      'outside its table',
    ],
    [
      'a misaligned field',
      (view, { root }) => view.setUint16(root - view.getInt32(root, true) + 4, 13, true),
      'not aligned',
    ],
    [
      'a backward reference',
      (view, { field }) => view.setUint32(field(6), 0xfffffff0, true),
      'not a forward reference',
    ],
    [
      'a string beyond the end',
      (view, { field }) => view.setUint32(field(6) + view.getUint32(field(6), true), 0xffffff, true),
      'Node.name',
    ],
    [
      'a string without its zero',
      (view, { field }) => view.setUint32(field(6) + view.getUint32(field(6), true), 3, true),
      'not terminated',
    ],
    [
      'a string that is not UTF-8',
      (view, { field }) => view.setUint8(field(6) + view.getUint32(field(6), true) + 4, 0xff),
      'not valid UTF-8',
    ],
    [
      'an overlong UTF-8 sequence',
      (view, { field }) => view.setUint16(field(6) + view.getUint32(field(6), true) + 4, 0x80c0, true),
      'not valid UTF-8',
    ],
    [
      'a vector beyond the end',
      (view, { field }) => view.setUint32(field(16) + view.getUint32(field(16), true), 0x20000000, true),
      'Node.longs',
    ],
    [
      'a misaligned vector of longs',
      (view, { field }) => view.setUint32(field(16), view.getUint32(field(16), true) + 4, true),
      'Node.longs',
    ],
    [
      'a bool of 2',
      (view, { field }) => view.setUint8(field(18) + view.getUint32(field(18), true) + 4, 2),
      'Node.flags: 2 is not one of',
    ],
    ['an unknown tag', (view, { field }) => view.setUint8(field(12), 3), 'Node.tag: 3 is not one of'],
    ['the tag of another table', (view, { field }) => view.setUint8(field(12), 1), 'outside its table'],
    ['a value without tag', (view, { field }) => view.setUint8(field(12), 0), 'the union has tag 0 and a value'],
  ])('refuses %s', (_, damage, message) => {
    const bytes = buffer((b) => {
      const name = b.createString('name');
      const must = b.createString('\u00e9\u00e9');
      b.startVector(8, 1, 8);
      b.addInt64(5n);
      const longs = b.endVector();
      b.startVector(1, 1, 1);
      b.addInt8(1);
      const flags = b.endVector();
      b.startObject(1);
      b.addFieldOffset(0, must, 0);
      const leaf = b.endObject();
      return table(b, (t) => {
        t.addFieldInt64(0, 1n, 0n);
        t.addFieldOffset(1, name, 0);
        t.addFieldOffset(5, leaf, 0);
        t.addFieldOffset(6, longs, 0);
        t.addFieldOffset(7, flags, 0);
        t.addFieldInt8(4, 2, 0);
      });
    });
    expect(verify(bytes)).toBe('accepted');
    const view = new DataView(bytes.buffer);
    const root = view.getUint32(0, true);
    const field = (slot: number) => root + view.getUint16(root - view.getInt32(root, true) + slot, true);
    damage(view, { root, field });
    expect(refusal(bytes)).toContain(message);
    expect(verify(bytes)).toBe('module-structure');
  });

  test('refuses a missing required field and a tag without value', () => {
    const missing = buffer((b) => {
      b.startObject(1);
      const leaf = b.endObject();
      return table(b, (t) => {
        t.addFieldOffset(5, leaf, 0);
        t.addFieldInt8(4, 2, 0);
      });
    });
    expect(refusal(missing)).toContain('Leaf.must: a required field is missing');
    expect(refusal(buffer((b) => table(b, (t) => t.addFieldInt8(4, 2, 0))))).toContain(
      'the union has tag 2 and no value',
    );
  });

  test('does linear work on a large header', () => {
    const header = headerOf(decoderModule(40));
    const start = performance.now();
    verifyStructure(graphSchema, header, 4);
    expect(performance.now() - start).toBeLessThan(1000);
  });
});

test('a newer format is named before anything else is judged', () => {
  const header = headerOf(moduleOf([]));
  const view = new DataView(header.buffer);
  expect(peekRootField(graphSchema, header, 4, 4)).toBe(1);
  const root = 4 + view.getUint32(4, true);
  view.setUint32(root + view.getUint16(root - view.getInt32(root, true) + 4, true), 2, true);
  header.fill(0xff, header.byteLength - 40);
  expect(() => decodeModule(header, memorySource(header, 'new.qvr'))).toThrow(
    expect.objectContaining({
      code: 'module-version',
      message: 'new.qvr: the module has format version 2, this release reads up to 1',
      hint: 'Update Quaver to read this module.',
    }),
  );
});
