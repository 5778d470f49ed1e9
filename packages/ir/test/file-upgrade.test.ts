/** Old op versions and newer files. */
import {
  attribute,
  coreOps,
  defineOp,
  encodeModule,
  GraphBuilder,
  type Node,
  OpRegistry,
  parseModule,
  printModule,
  readModuleBytes,
  type Upgraders,
  upgraderKey,
  writeModuleBytes,
} from '@quaver/ir';
import { expect, test } from 'vitest';
import { moduleOf } from './support/sample-modules.ts';

const f32 = { dtypes: ['f32'] } as const;

/** Version 1 scaled by a percentage; version 2 scales by a factor. */
const scaleV1 = defineOp('scale', {
  ...{ domain: 'test.kit', version: 1, summary: 'x · percent / 100', results: ['y'] },
  operands: { x: f32 },
  attributes: { percent: attribute.int() },
  infer: ({ x }) => [x],
});
const scaleV2 = defineOp('scale', {
  ...{ domain: 'test.kit', version: 2, summary: 'x · factor', results: ['y'] },
  operands: { x: f32 },
  attributes: { factor: attribute.f64() },
  infer: ({ x }) => [x],
});

const old = new OpRegistry([...coreOps.list(), scaleV1]);
const current = new OpRegistry([...coreOps.list(), scaleV2]);

const upgraders: Upgraders = new Map([
  [
    upgraderKey('test.kit', 'scale', 1),
    (node: Node) => [{ ...node, version: 2, attributes: { factor: Number(node.attributes.percent) / 100 } }],
  ],
]);

function oldModule() {
  const g = new GraphBuilder('f');
  g.output('y', g.apply(scaleV1, [g.input('x', 'f32', ['B'])], { percent: 150 }, { location: 'here' })[0]!);
  return moduleOf([g.finish()]);
}

const oldText = printModule(oldModule());

test('an op of an old version is read as the current one, from a file and from text', async () => {
  const bytes = await writeModuleBytes(oldModule(), { registry: old });
  const read = readModuleBytes(bytes, { registry: current, upgraders });
  expect(printModule(read)).toBe(
    oldText
      .replace('test.kit@1', 'test.kit@2')
      .replace('test.kit.scale(%x) {percent=150}', 'test.kit.scale@2(%x) {factor=1.5}'),
  );
  expect(printModule(parseModule(oldText, { registry: current, upgraders }))).toBe(printModule(read));
});

test('without its upgrader it is an unknown op, named with its place', async () => {
  const bytes = await writeModuleBytes(oldModule(), { registry: old });
  expect(() => readModuleBytes(bytes, { registry: current, name: 'old.qvr' })).toThrow(
    expect.objectContaining({
      code: 'op-unknown',
      message: 'old.qvr: function f, node 0 (test.kit.scale@1 at here): unknown op test.kit.scale@1',
      hint: expect.stringContaining('knows version 2'),
    }),
  );
  expect(() => parseModule(oldText, { registry: current })).toThrow(
    expect.objectContaining({ code: 'op-unknown', message: '8:12: unknown op test.kit.scale@1' }),
  );
});

test('an upgrade may give several nodes, and runs until the op is current', () => {
  const viaNegation: Upgraders = new Map([
    [
      upgraderKey('test.kit', 'scale', 1),
      (node: Node) => {
        const [x] = node.operands;
        const between = { kind: 'result', name: 'between', type: x!.type, ref: undefined } as const;
        const negate = { ...node, domain: 'core', op: 'negate', version: 1, attributes: {} };
        return [
          { ...negate, results: [between] },
          { ...negate, operands: [between] },
        ];
      },
    ],
  ]);
  const text = printModule(parseModule(oldText, { registry: current, upgraders: viaNegation }));
  expect(text).toContain(
    '%between = negate(%x) : f32[B] loc("here")\n  %scale = negate(%between) : f32[B] loc("here")',
  );
});

test('upgraders that never arrive are an error', () => {
  const endless: Upgraders = new Map([[upgraderKey('test.kit', 'scale', 1), (node: Node) => [{ ...node }]]]);
  expect(() => parseModule(oldText, { registry: current, upgraders: endless })).toThrow(
    expect.objectContaining({ code: 'upgrade-endless' }),
  );
});

test('a newer opset and an unknown domain are named before any node is read', async () => {
  const g = new GraphBuilder('f');
  g.output('y', g.apply(scaleV2, [g.input('x', 'f32', ['B'])], { factor: 2 })[0]!);
  const bytes = await writeModuleBytes(moduleOf([g.finish()]), { registry: current });
  expect(() => readModuleBytes(bytes, { registry: old })).toThrow(
    expect.objectContaining({
      code: 'module-version',
      message: expect.stringContaining('test.kit@2, this release knows up to 1'),
    }),
  );
  expect(() => readModuleBytes(bytes)).toThrow(
    expect.objectContaining({ code: 'op-unknown', message: expect.stringContaining("domain 'test.kit'") }),
  );
  expect(() => parseModule('quaver 1 opset core@99\nmodule "m"')).toThrow(
    expect.objectContaining({ code: 'module-version' }),
  );
  expect(() => parseModule('quaver 2\nmodule "m"')).toThrow(expect.objectContaining({ code: 'module-version' }));
  expect(() => encodeModule(moduleOf([g.finish()]))).toThrow(expect.objectContaining({ code: 'op-unknown' }));
});
