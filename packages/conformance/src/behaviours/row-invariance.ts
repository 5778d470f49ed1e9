/** @file A row gives the same bits alone, in any batch, and at any place in it, where the executor promises that. */
import { type Executor, Session } from '@quaver/executor';
import { type DType, GraphBuilder, type HostTensor, type Module, type Value, verifyModule } from '@quaver/ir';
import type { ConformanceCase } from '../runner/case.ts';
import { behaviour, notPromised } from './behaviour.ts';
import { expectSameBits, rowsOf } from './expectations.ts';
import { randomTensor } from './random.ts';

/** Numbers of rows: alone, ragged against every usual tile, and beyond a block of 128. */
const rowCounts = [1, 2, 3, 5, 8, 16, 17, 64, 130];
const mostRows = Math.max(...rowCounts);

/** Inputs with a batch axis `B` in front, and others that are the same for every row. */
interface Subject {
  readonly name: string;
  readonly op: string;
  readonly batched: Readonly<Record<string, HostTensor>>;
  readonly fixed?: Readonly<Record<string, HostTensor>>;
  build(g: GraphBuilder, values: Readonly<Record<string, Value>>): Value;
}

const rows = (seed: number, dtype: DType, ...shape: number[]) => randomTensor(seed, dtype, [mostRows, ...shape]);
const columns = { lhs_contract: [1], rhs_contract: [1] };

function product(dtype: DType): Subject {
  return {
    name: `dot_general of ${dtype}`,
    op: 'dot_general',
    batched: { x: rows(1, dtype, 200) },
    fixed: { w: randomTensor(2, dtype, [70, 200]) },
    build: (g, { x, w }) => g.op('dot_general', [x, w], columns),
  };
}

/** An activation quantized by its own scales, times weights: what a recipe makes of a linear layer. */
function quantizedProduct(
  name: string,
  block: readonly number[],
  weightBlock: readonly number[],
  scale: DType,
): Subject {
  const blocks = [70, 200].map((dim, axis) => (weightBlock[axis] === 0 ? 1 : Math.ceil(dim / weightBlock[axis]!)));
  return {
    name: `scaled_dot with ${name} scales`,
    op: 'scaled_dot',
    batched: { x: rows(3, 'f32', 200) },
    fixed: { w: randomTensor(4, 'f8e4m3fn', [70, 200]), ws: scalesOf(scale, blocks) },
    build: (g, { x, w, ws }) => {
      const largest = g.op('amax', [x], { block });
      const s = g.op('compute_scale', [largest], { max: 448, rounding: 'pow2_up', to: scale });
      const q = g.op('quantize', [x, s], { to: 'f8e4m3fn', block });
      return g.op('scaled_dot', [q, w, s, ws], { lhs_block: block, rhs_block: weightBlock, ...columns });
    },
  };
}

function scalesOf(dtype: DType, shape: readonly number[]): HostTensor {
  const scales = randomTensor(5, dtype, shape);
  if (dtype === 'f32') for (let i = 0; i < scales.data.length; i++) scales.data[i] = Math.abs(scales.data[i]!) + 0.01;
  return scales;
}

function attention(dtype: DType, probs: string): Subject {
  const scaled = dtype === 'f8e4m3fn';
  const scales = scaled ? { ks: rows(9, 'f8e8m0fnu', 20, 2, 1), vs: rows(10, 'f8e8m0fnu', 20, 2, 1) } : {};
  return {
    name: `attention over ${dtype} keys`,
    op: 'attention',
    batched: {
      q: rows(6, dtype === 'f32' ? 'f32' : 'bf16', 1, 4, 16),
      k: rows(7, dtype, 20, 2, 16),
      v: rows(8, dtype, 20, 2, 16),
      position: randomTensor(11, 'i32', [mostRows], 20),
      ...scales,
    },
    build: (g, { q, k, v, position, ks, vs }) =>
      g.op('attention', [q, k, v, position, ks, vs], { scale: 0.25, window: 0, probs }),
  };
}

const x50: Subject['batched'] = { x: rows(12, 'f32', 3, 50) };
const weight: Subject['batched'] = { weight: randomTensor(13, 'f32', [50]) };

const subjects: readonly Subject[] = [
  product('f32'),
  product('bf16'),
  product('f8e4m3fn'),
  quantizedProduct('block', [1, 128], [128, 128], 'f32'),
  quantizedProduct('row', [1, 0], [1, 0], 'f32'),
  quantizedProduct('mx', [1, 32], [1, 32], 'f8e8m0fnu'),
  attention('f32', 'f32'),
  attention('bf16', 'bf16'),
  attention('f8e4m3fn', 'f8e4m3fn'),
  {
    name: 'rms_norm',
    op: 'rms_norm',
    batched: x50,
    fixed: weight,
    build: (g, { x, weight: w }) => g.op('rms_norm', [x, w], { eps: 1e-5 }),
  },
  { name: 'softmax', op: 'softmax', batched: x50, build: (g, { x }) => g.op('softmax', [x], { axis: 2 }) },
  { name: 'log_softmax', op: 'log_softmax', batched: x50, build: (g, { x }) => g.op('log_softmax', [x], { axis: 2 }) },
  {
    name: 'swiglu',
    op: 'swiglu',
    batched: { ...x50, up: rows(14, 'f32', 3, 50) },
    build: (g, { x, up }) => g.op('swiglu', [x, up]),
  },
  {
    name: 'reduce',
    op: 'reduce',
    batched: x50,
    build: (g, { x }) => g.op('reduce', [x], { kind: 'sum', axes: [2] }),
  },
];

export const rowInvarianceCases: readonly ConformanceCase[] = subjects.map((subject) =>
  behaviour(
    `row invariance/${subject.name}`,
    async ({ executor, signal }) => {
      if (!executor.capabilities.rowInvariant) return notPromised('rowInvariant');
      await compareBatches(executor, subject, signal);
      return undefined;
    },
    subject.op,
  ),
);

async function compareBatches(executor: Executor, subject: Subject, signal: AbortSignal): Promise<void> {
  await using session = await Session.open(moduleOf(subject), executor, { signal });
  const run = async (from: number, to: number) => {
    const batch = Object.entries(subject.batched).map(([name, tensor]) => [name, rowsOf(tensor, from, to)] as const);
    const { y } = await session.run('main', { ...Object.fromEntries(batch), ...subject.fixed }, { signal });
    return y!;
  };
  const whole = await run(0, mostRows);
  for (const count of rowCounts) {
    const from = mostRows - count;
    for (const at of from === 0 ? [0] : [0, from]) {
      expectSameBits(`rows ${at} to ${at + count} alone`, await run(at, at + count), rowsOf(whole, at, at + count));
    }
  }
}

function moduleOf({ batched, fixed = {}, build }: Subject): Module {
  const g = new GraphBuilder('main');
  const values: Record<string, Value> = {};
  for (const [name, { type }] of Object.entries(batched)) {
    values[name] = g.input(name, type.dtype, ['B', ...type.shape.slice(1)]);
  }
  for (const [name, { type }] of Object.entries(fixed)) values[name] = g.input(name, type.dtype, type.shape);
  g.output('y', build(g, values));
  const module: Module = {
    name: 'rows',
    symbols: [{ name: 'B', min: 0, max: mostRows, multiple: 1 }],
    parameters: [],
    states: [],
    functions: [g.finish()],
    metadata: {},
    attachments: new Map(),
  };
  verifyModule(module);
  return module;
}
