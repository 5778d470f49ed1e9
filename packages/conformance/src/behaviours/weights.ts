/** @file Parameters that functions update: every later call reads the new ones, in whatever form it reads them. */
import { Session } from '@quaver/executor';
import { type HostTensor, parseModule } from '@quaver/ir';
import type { ConformanceCase } from '../runner/case.ts';
import { behaviour } from './behaviour.ts';
import { expectSameBits } from './expectations.ts';
import { randomTensor } from './random.ts';

const [rows, columns] = [80, 256];

/** Products in both directions, rows of a table, and elements: executors may keep another form of the weight for each. */
const uses = (dtype: string) => `
  %forth = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[], promote=128} : f32[3,${rows}]
  %z = slice(%x) {start=[0,0], limit=[3,${rows}], stride=[1,1]} : ${dtype}[3,${rows}]
  %back = dot_general(%z, %w) {lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[], promote=128} : f32[3,${columns}]
  %row = gather(%w, %ids) {axis=0, batch_dims=0} : ${dtype}[2,${columns}]
  return %forth, %back, %row`;

const results = (dtype: string) => `(forth: f32[3,${rows}], back: f32[3,${columns}], row: ${dtype}[2,${columns}])`;

const trained = (dtype: string) => `quaver 1 opset core@1
module "weights"
parameter "w": ${dtype}[${rows},${columns}]

func @use(%x: ${dtype}[3,${columns}], %ids: i32[2], %w: ${dtype}[${rows},${columns}] @"w") -> ${results(dtype)} {${uses(dtype)}
}

func @set(%to: ${dtype}[${rows},${columns}]) -> () {
  update parameter "w" = %to
  return
}

func @negate(%w: ${dtype}[${rows},${columns}] @"w") -> (old: ${dtype}[${rows},${columns}]) {
  %wide = convert(%w) {to="f32"} : f32[${rows},${columns}]
  %negated = negate(%wide) : f32[${rows},${columns}]
  %new = convert(%negated) {to="${dtype}"} : ${dtype}[${rows},${columns}]
  update parameter "w" = %new
  return %w
}
`;

/** The same with the weight as an input. */
const given = (dtype: string) => `quaver 1 opset core@1
module "given"

func @use(%x: ${dtype}[3,${columns}], %ids: i32[2], %w: ${dtype}[${rows},${columns}]) -> ${results(dtype)} {${uses(dtype)}
}
`;

function updateCase(dtype: 'f32' | 'bf16'): ConformanceCase {
  return behaviour(`weights/updated ${dtype} weights are read by the next call`, async ({ executor, signal }) => {
    const options = { computed: ['w'], signal };
    await using session = await Session.open(parseModule(trained(dtype)), executor, options);
    await using plain = await Session.open(parseModule(given(dtype)), executor, { signal });
    const x = randomTensor(1, dtype, [3, columns]);
    const ids: HostTensor = { type: { dtype: 'i32', shape: [2] }, data: Int32Array.of(7, rows - 1) };
    const check = async (what: string, w: HostTensor) => {
      const found = await session.run('use', { x, ids }, { signal });
      const expected = await plain.run('use', { x, ids, w }, { signal });
      for (const [name, tensor] of Object.entries(expected)) expectSameBits(`${what}: ${name}`, found[name], tensor);
    };
    for (const seed of [2, 3, 4]) {
      const w = randomTensor(seed, dtype, [rows, columns]);
      await session.run('set', { to: w }, { signal });
      await check(`after set ${seed}`, w);
      expectSameBits('the old weights', (await session.run('negate', {}, { signal })).old, w);
      await check(`after negate ${seed}`, negated(w));
    }
  });
}

function negated({ type, data }: HostTensor): HostTensor {
  if (data instanceof Float32Array) return { type, data: data.map((value) => -value) };
  return { type, data: Uint16Array.from(data as Uint16Array, (bits) => bits ^ 0x8000) };
}

export const weightCases: readonly ConformanceCase[] = [updateCase('f32'), updateCase('bf16')];
