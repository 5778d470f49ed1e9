/** @file Derivatives of graphs in float64: by the gradient rules, and by central differences. */
import { differentiate, gradientOutput } from '@quaver/compiler';
import {
  type ConcreteType,
  concreteElementCount,
  type DType,
  floatDTypes,
  GraphBuilder,
  type GraphFunction,
  type HostTensor,
  interpretFunction,
  multiplyDims,
  type Value,
  verifyModule,
} from '@quaver/ir';

/** An input of a function under test; float tensors hold real numbers, whatever their dtype. */
export interface Given {
  readonly type: ConcreteType;
  readonly data: Float64Array | Int32Array | Uint8Array;
  /** Not differentiated with respect to this one. */
  readonly fixed?: true;
}

export type Givens = Readonly<Record<string, Given>>;

/** mulberry32: numbers in [0, 1) that a seed fixes. */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Real numbers of a random order in (low, high), no two of them closer than half their mean distance: no kink of max or abs lies
 * within the step of a difference.
 */
export function reals(shape: readonly number[], random: () => number, low = -2, high = 2, dtype: DType = 'f32'): Given {
  const count = shape.reduce((product, dim) => product * dim, 1);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const data = Float64Array.from(order, (rank) => low + ((high - low) * (rank + 0.25 + random() / 2)) / count);
  return { type: { dtype, shape: [...shape] }, data };
}

/** Outputs as one number: Σ of every float element times a random weight. */
function weightedSum(g: GraphBuilder, outputs: readonly Value[]): Value {
  const sums = outputs.map((value, i) => {
    const x = g.convert(value, 'f32');
    const weighted = g.op('multiply', [x, g.input(`weight${i}`, 'f32', x.type.shape)]);
    const flat = g.op('reshape', [weighted], { shape: [multiplyDims(...weighted.type.shape)] });
    return g.op('reduce', [flat], { kind: 'sum', axes: [0] });
  });
  return sums.reduce((a, b) => g.op('add', [a, b]));
}

export interface Derivatives {
  readonly name: string;
  /** Along one random direction. */
  readonly byRule: number;
  readonly byDifference: number;
  /** Σ |gradient · direction|: what both are small against when they cancel. */
  readonly scale: number;
}

/** Both derivatives of Σ weight · output along random directions, for every float input that is not fixed. */
export function derivatives(
  build: (g: GraphBuilder, inputs: Readonly<Record<string, Value>>) => readonly Value[],
  givens: Givens,
  random: () => number,
): Derivatives[] {
  const g = new GraphBuilder('main');
  const inputs = Object.fromEntries(
    Object.entries(givens).map(([name, { type }]) => [name, g.input(name, type.dtype, type.shape)]),
  );
  const outputs = build(g, inputs).filter(({ type }) => floatDTypes.includes(type.dtype));
  g.output('loss', weightedSum(g, outputs));
  const fn = g.finish();
  const weights = fn.inputs.slice(Object.keys(givens).length).map(({ name, type }) => {
    return [name, reals(type.shape as number[], random)] as const;
  });
  const all: Givens = { ...givens, ...Object.fromEntries(weights) };
  const wrt = Object.keys(givens).filter((name) => {
    return !givens[name]!.fixed && floatDTypes.includes(givens[name]!.type.dtype);
  });
  const gradient = differentiate(fn, { loss: 'loss', wrt });
  verifyModule({
    ...{ name: 'test', symbols: [], parameters: [], states: [], metadata: {}, attachments: new Map() },
    functions: [gradient],
  });
  const found = run(gradient, all);
  return wrt.map((name) => {
    const slope = found[gradientOutput(name)]!.data as Float64Array;
    const direction = Float64Array.from(slope, () => 2 * random() - 1);
    const terms = direction.map((v, i) => v * slope[i]!);
    const at = (step: number) => {
      const moved = givens[name]!.data.map((x, i) => x + step * direction[i]!) as Float64Array;
      return run(fn, { ...all, [name]: { ...givens[name]!, data: moved } }).loss!.data[0]!;
    };
    const h = 1e-5;
    return {
      name,
      byRule: terms.reduce((a, b) => a + b, 0),
      byDifference: (at(h) - at(-h)) / (2 * h),
      scale: terms.reduce((a, b) => a + Math.abs(b), 0),
    };
  });
}

function run(fn: GraphFunction, givens: Givens): Record<string, HostTensor> {
  for (const { type, data } of Object.values(givens)) {
    if (data.length !== concreteElementCount(type)) throw new Error('a test gives data of the wrong length');
  }
  return interpretFunction(fn, { inputs: givens }).outputs;
}
