/** @file Every gradient rule against central differences in float64, at random shapes. */
import { coreOps, type DType, type GraphBuilder, type Value } from '@quaver/ir';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { derivatives, type Given, type Givens, randomOf, reals } from './support/derivative.ts';

type Inputs = Readonly<Record<string, Value>>;

interface Case {
  readonly givens: Givens;
  build(g: GraphBuilder, inputs: Inputs): readonly Value[];
}

/** Random integers and real numbers for one case. */
class Draw {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = randomOf(seed);
  }

  int(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low + 1));
  }

  shape(low = 1, high = 3, largest = 4): number[] {
    return Array.from({ length: this.int(low, high) }, () => this.int(1, largest));
  }

  reals(shape: readonly number[], low = -2, high = 2, dtype: DType = 'f32'): Given {
    return reals(shape, this.random, low, high, dtype);
  }

  ints(shape: readonly number[], low: number, high: number): Given {
    const count = shape.reduce((product, dim) => product * dim, 1);
    const data = Int32Array.from({ length: count }, () => this.int(low, high));
    return { type: { dtype: 'i32', shape: [...shape] }, data };
  }

  permutation(rank: number): number[] {
    const order = Array.from({ length: rank }, (_, i) => i);
    for (let i = rank - 1; i > 0; i--) {
      const j = this.int(0, i);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}

/** A case of an op whose operands are the inputs, in their order. */
const direct = (op: string, givens: Givens, attributes = {}): Case => ({
  givens,
  build(g, inputs) {
    const definition = coreOps.latest('core', op);
    return g.apply(
      definition,
      Object.keys(definition.operands).map((name) => inputs[name]),
      attributes,
    );
  },
});

const binary = (op: string, low = -2, high = 2, [lhs, rhs]: readonly [string, string] = ['lhs', 'rhs']) => {
  return (draw: Draw): Case => {
    const shape = draw.shape();
    // Drawn together: no kink of maximum lies between the two either.
    const { type, data } = draw.reals([2, ...shape], low, high);
    const half = (from: number) => ({ type: { ...type, shape }, data: data.slice(from, from + data.length / 2) });
    return direct(op, { [lhs]: half(0), [rhs]: half(data.length / 2) });
  };
};

const unary = (op: string, low = -2, high = 2) => {
  return (draw: Draw): Case => direct(op, { x: draw.reals(draw.shape(), low, high) });
};

const alongAxis = (op: string) => {
  return (draw: Draw): Case => {
    const shape = draw.shape();
    return direct(op, { x: draw.reals(shape) }, { axis: draw.int(0, shape.length - 1) });
  };
};

/** Quantized operands of a product are made in the graph, so that the derivative goes through the casts. */
function quantized(g: GraphBuilder, x: Value, block: readonly number[]): readonly [Value, Value] {
  const attributes = { to: 'f8e4m3fn', block, max: 448, rounding: 'pow2_up' };
  const [q, scale] = g.apply(coreOps.latest('core', 'dynamic_quantize'), [x], attributes);
  return [q!, scale!];
}

function attentionCase(draw: Draw): Case {
  const [batch, tokens, heads, groups, depth] = [
    ...[draw.int(1, 2), draw.int(1, 3)],
    ...[draw.int(1, 2), draw.int(1, 2), draw.int(1, 4)],
  ] as const;
  // Every query sees a key.
  const keys = tokens + draw.int(0, 3);
  const precision = (['f32', 'bf16', 'f8e4m3fn'] as const)[draw.int(0, 2)]!;
  const dtype = precision === 'f32' ? 'f32' : 'bf16';
  const cache = [batch, keys, heads, depth];
  const givens: Givens = {
    q: draw.reals([batch, tokens, heads * groups, depth], -2, 2, dtype),
    k: draw.reals(cache, -2, 2, dtype),
    v: draw.reals(cache, -2, 2, dtype),
    position: draw.ints([batch], 0, keys - tokens),
    // Of packed sequences: before the keys, among them, and past the query.
    ...(draw.int(0, 1) === 0 ? {} : { first_key: draw.ints([batch, tokens], -1, keys) }),
  };
  const attributes = { scale: 0.5, window: draw.int(0, 3), probs: precision };
  if (precision !== 'f8e4m3fn') return direct('attention', givens, attributes);
  return {
    givens,
    build(g, { q, k, v, position, first_key }) {
      const [keyCodes, keyScale] = quantized(g, k!, [1, 1, 1, 0]);
      const [valueCodes, valueScale] = quantized(g, v!, [1, 1, 1, 0]);
      const operands = [q, keyCodes, valueCodes, position, keyScale, valueScale, first_key];
      return g.apply(coreOps.latest('core', 'attention'), operands, attributes);
    },
  };
}

const cases: Readonly<Record<string, (draw: Draw) => Case>> = {
  add: binary('add'),
  subtract: binary('subtract'),
  multiply: binary('multiply'),
  divide: binary('divide', 0.5, 3),
  maximum: binary('maximum'),
  minimum: binary('minimum'),
  negate: unary('negate'),
  abs: unary('abs'),
  exp: unary('exp'),
  log: unary('log', 0.2, 4),
  sqrt: unary('sqrt', 0.2, 4),
  silu: unary('silu', -4, 4),
  convert: (draw) => direct('convert', { x: draw.reals(draw.shape()) }, { to: 'bf16' }),
  select(draw) {
    const shape = draw.shape();
    const pred = { type: { dtype: 'bool' as const, shape }, data: Uint8Array.from(draw.ints(shape, 0, 1).data) };
    return direct('select', { pred, on_true: draw.reals(shape), on_false: draw.reals(shape) });
  },
  broadcast_in_dim(draw) {
    const shape = draw.shape(1, 4);
    const dims = draw.permutation(shape.length).slice(0, draw.int(0, shape.length));
    const x = dims.map((axis) => (draw.int(0, 2) === 0 ? 1 : shape[axis]!));
    return direct('broadcast_in_dim', { x: draw.reals(x) }, { shape, dims });
  },
  reshape(draw) {
    const [a, b, c] = [draw.int(1, 4), draw.int(1, 4), draw.int(1, 4)];
    return direct(
      'reshape',
      { x: draw.reals([a, b, c]) },
      { shape: draw.int(0, 1) === 0 ? [a * b, c] : [b, c * a, 1] },
    );
  },
  transpose(draw) {
    const shape = draw.shape(1, 4);
    return direct('transpose', { x: draw.reals(shape) }, { permutation: draw.permutation(shape.length) });
  },
  slice(draw) {
    const shape = draw.shape(1, 3, 6);
    const start = shape.map((dim) => draw.int(0, dim - 1));
    const limit = shape.map((dim, axis) => draw.int(start[axis]!, dim));
    return direct('slice', { x: draw.reals(shape) }, { start, limit, stride: shape.map(() => draw.int(1, 3)) });
  },
  concatenate(draw) {
    const shape = draw.shape();
    const axis = draw.int(0, shape.length - 1);
    const other = shape.map((dim, i) => (i === axis ? draw.int(0, 3) : dim));
    return direct('concatenate', { lhs: draw.reals(shape), rhs: draw.reals(other) }, { axis });
  },
  reduce(draw) {
    const shape = draw.shape();
    const kind = ['sum', 'max', 'min'][draw.int(0, 2)]!;
    const axes = draw.permutation(shape.length).slice(0, kind === 'sum' ? 1 : draw.int(1, shape.length));
    return direct('reduce', { x: draw.reals(shape) }, { kind, axes, keep: draw.int(0, 1) === 1 });
  },
  dot_general(draw) {
    const sizes = {
      batch: draw.shape(0, 2, 3),
      left: draw.shape(0, 2, 3),
      right: draw.shape(0, 2, 3),
      k: draw.int(1, 5),
    };
    const side = (free: readonly number[]) => {
      const axes = [...sizes.batch, ...free, sizes.k];
      const order = draw.permutation(axes.length);
      const at = (i: number) => order.indexOf(i);
      return {
        shape: order.map((i) => axes[i]!),
        batch: sizes.batch.map((_, i) => at(i)),
        contract: [at(axes.length - 1)],
      };
    };
    const [lhs, rhs] = [side(sizes.left), side(sizes.right)];
    return direct(
      'dot_general',
      { lhs: draw.reals(lhs.shape), rhs: draw.reals(rhs.shape) },
      {
        lhs_contract: lhs.contract,
        rhs_contract: rhs.contract,
        lhs_batch: lhs.batch,
        rhs_batch: rhs.batch,
        promote: draw.int(1, 4),
      },
    );
  },
  gather(draw) {
    const batch = draw.shape(0, 2, 3);
    const [before, behind] = [draw.shape(0, 1), draw.shape(0, 2)];
    const bound = draw.int(1, 4);
    return direct(
      'gather',
      {
        operand: draw.reals([...batch, ...before, bound, ...behind]),
        indices: draw.ints([...batch, ...draw.shape(0, 2)], 0, bound - 1),
      },
      { axis: batch.length + before.length, batch_dims: batch.length },
    );
  },
  scatter_add(draw) {
    const [rows, rest, picked] = [draw.int(1, 4), draw.shape(0, 2), draw.shape(0, 2)];
    return direct('scatter_add', {
      operand: draw.reals([rows, ...rest]),
      indices: draw.ints(picked, 0, rows - 1),
      updates: draw.reals([...picked, ...rest]),
    });
  },
  dynamic_update_slice(draw) {
    const shape = draw.shape(2, 4);
    const axis = draw.int(1, shape.length - 1);
    const update = shape.map((dim, i) => (i === axis ? draw.int(1, 4) : dim));
    return direct(
      'dynamic_update_slice',
      { operand: draw.reals(shape), update: draw.reals(update), start: draw.ints([shape[0]!], -2, shape[axis]! + 1) },
      { axis },
    );
  },
  quantize(draw) {
    const shape = draw.shape(2, 2);
    const block = [1, draw.int(0, 2)];
    return {
      givens: { x: draw.reals(shape) },
      build: (g, { x }) => [g.op('dequantize', [...quantized(g, x!, block)], { to: 'f32', block })],
    };
  },
  stochastic_quantize(draw) {
    const shape = draw.shape(2, 2);
    const block = [1, draw.int(0, 2)];
    return {
      givens: { x: draw.reals(shape), seed: draw.ints([1], 0, 9) },
      build(g, { x, seed }) {
        const [, scale] = quantized(g, x!, block);
        const q = g.op('stochastic_quantize', [x, scale, seed], { to: 'f8e4m3fn', block });
        return [g.op('dequantize', [q, scale], { to: 'f32', block })];
      },
    };
  },
  scaled_dot(draw) {
    const k = draw.int(1, 6);
    const along = draw.int(0, 2);
    // Either side may be bf16, and contract either axis.
    const side = () => {
      const axis = draw.int(0, 1);
      const of = <T>(free: T, contracted: T): T[] => (axis === 1 ? [free, contracted] : [contracted, free]);
      return { axis, shape: of(draw.int(1, 3), k), block: draw.int(0, 2) === 0 ? [] : of(1, along) };
    };
    const [left, right] = [side(), side()];
    const operand = (g: GraphBuilder, x: Value, block: readonly number[]) =>
      block.length === 0 ? ([g.convert(x, 'bf16'), undefined] as const) : quantized(g, x, block);
    return {
      givens: { lhs: draw.reals(left.shape), rhs: draw.reals(right.shape) },
      build(g, { lhs, rhs }) {
        const [a, aScale] = operand(g, lhs!, left.block);
        const [b, bScale] = operand(g, rhs!, right.block);
        const contract = { lhs_contract: [left.axis], rhs_contract: [right.axis] };
        const attributes = { ...contract, lhs_block: left.block, rhs_block: right.block };
        return g.apply(coreOps.latest('core', 'scaled_dot'), [a, b, aScale, bScale], attributes);
      },
    };
  },
  softmax: alongAxis('softmax'),
  log_softmax: alongAxis('log_softmax'),
  log_softmax_gather(draw) {
    const [rows, size] = [draw.shape(0, 2), draw.int(1, 6)];
    return direct('log_softmax_gather', { x: draw.reals([...rows, size]), targets: draw.ints(rows, 0, size - 1) });
  },
  swiglu: (draw) => binary('swiglu', -4, 4, ['gate', 'up'])(draw),
  rms_norm(draw) {
    const shape = draw.shape(1, 3, 6);
    return direct('rms_norm', { x: draw.reals(shape), weight: draw.reals(shape.slice(-1)) }, { eps: 0.1 });
  },
  bias_add(draw) {
    const shape = draw.shape();
    return direct('bias_add', { x: draw.reals(shape), bias: draw.reals(shape.slice(-1)) });
  },
  rope(draw) {
    const [batch, tokens, half] = [draw.int(1, 2), draw.int(1, 3), draw.int(1, 3)];
    const table = (): Given => ({ ...draw.reals([8, half]), fixed: true });
    return direct('rope', {
      x: draw.reals([batch, tokens, draw.int(1, 2), 2 * half + draw.int(0, 1)]),
      cos: table(),
      sin: table(),
      position: draw.ints(draw.int(0, 1) === 0 ? [batch] : [batch, tokens], 0, 5),
    });
  },
  attention: attentionCase,
};

/** Ops without a case of their own, and why. */
const without: Readonly<Record<string, string>> = {
  constant: 'has no operands',
  iota: 'has no operands',
  compare: 'gives no numbers',
  and: 'gives no numbers',
  or: 'gives no numbers',
  not: 'gives no numbers',
  amax: 'feeds scales, which count as constant',
  compute_scale: 'feeds scales, which count as constant',
  adamw_step: 'comes after the gradients',
  attention_grad: 'is the rule of attention',
  rms_norm_grad: 'is the rule of rms_norm',
  swiglu_grad: 'is the rule of swiglu',
  log_softmax_gather_grad: 'is the rule of log_softmax_gather',
  stop_gradient: 'is tested in autodiff.test.ts',
  paged_gather: 'caches in pages only generate',
  paged_update: 'caches in pages only generate',
  dequantize: 'is tested with quantize',
  dynamic_quantize: 'is tested with quantize',
};

describe('gradient rules', () => {
  test('are all tested, or have a reason to be missing', () => {
    const names = coreOps.list().map(({ name }) => name);
    expect([...Object.keys(cases), ...Object.keys(without)].sort()).toEqual(names.sort());
    const withRule = coreOps.list().filter(({ name, hasGradient }) => hasGradient && !Object.hasOwn(cases, name));
    expect(withRule.map(({ name }) => name).sort()).toEqual(['dequantize', 'stop_gradient']);
  });

  test.each(Object.entries(cases))('%s', (_, makeCase) => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const draw = new Draw(seed);
        const { givens, build } = makeCase(draw);
        for (const { name, byRule, byDifference, scale } of derivatives(build, givens, draw.random)) {
          const error = Math.abs(byRule - byDifference) / Math.max(scale, Math.abs(byDifference), 1e-3);
          expect(error, `with respect to ${name}`).toBeLessThan(1e-6);
        }
      }),
      { numRuns: 40 },
    );
  });
});
