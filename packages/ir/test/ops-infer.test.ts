import { type Attributes, coreOps, type DType, type HostTensor, sameType } from '@quaver/ir';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bitsOf, floats, randomNumbers, runOp, stored } from './op-runner.ts';

/** A node drawn at random: sizes may be 0, dtypes vary where the op allows it. */
interface Draw {
  readonly operands: readonly (HostTensor | undefined)[];
  readonly attributes: Attributes;
}

type Dims = readonly number[];

/** What a generator draws from; every draw advances the seed. */
class Source {
  #seed: number;
  constructor(seed: number) {
    this.#seed = seed;
  }
  int(min: number, max: number): number {
    this.#seed++;
    return min + Math.floor(((randomNumbers(3, this.#seed * 2654435761)[2]! + 1) / 2) * (max - min + 1));
  }
  pick<T>(...items: readonly T[]): T {
    return items[this.int(0, items.length - 1)]!;
  }
  dims(minRank: number, maxRank: number): number[] {
    return Array.from({ length: this.int(minRank, maxRank) }, () => this.int(0, 5));
  }
  tensor(dtype: DType, shape: Dims): HostTensor {
    const count = shape.reduce((product, dim) => product * dim, 1);
    const values = randomNumbers(count, ++this.#seed).map((x) => 20 * x);
    if (dtype === 'bool')
      return stored(
        dtype,
        shape,
        values.map((x) => (x > 0 ? 1 : 0)),
      );
    if (dtype === 'i32' || dtype === 'u8') return stored(dtype, shape, values.map(Math.round));
    return floats(dtype, shape, dtype === 'f8e8m0fnu' ? values.map(Math.abs) : values);
  }
  indices(shape: Dims, bound: number): HostTensor {
    const count = shape.reduce((product, dim) => product * dim, 1);
    return stored(
      'i32',
      shape,
      Array.from({ length: count }, () => this.int(0, bound - 1)),
    );
  }
  anyDType(): DType {
    return this.pick('f32', 'bf16', 'f16', 'f8e4m3fn', 'i32', 'u8', 'bool');
  }
}

const replaceAt = (shape: Dims, axis: number, dim: number) => shape.map((old, i) => (i === axis ? dim : old));
const blocked = (shape: Dims, block: Dims) => shape.map((dim, i) => (block[i] === 0 ? 1 : Math.ceil(dim / block[i]!)));
const axesOf = (shape: Dims) => shape.map((_, axis) => axis);
const unary = (s: Source): Draw => ({ operands: [s.tensor('f32', s.dims(0, 3))], attributes: {} });

function pair(s: Source, dtype: DType): Draw {
  const shape = s.dims(0, 3);
  return { operands: [s.tensor(dtype, shape), s.tensor(dtype, shape)], attributes: {} };
}
const numeric = (s: Source) => pair(s, s.pick('f32', 'i32'));

function softmaxDraw(s: Source): Draw {
  const shape = s.dims(1, 3);
  return { operands: [s.tensor('f32', shape)], attributes: { axis: s.int(0, shape.length - 1) } };
}

function withLastAxis(s: Source, attributes: Attributes): Draw {
  const shape = s.dims(1, 3);
  return { operands: [s.tensor('f32', shape), s.tensor('f32', shape.slice(-1))], attributes };
}

function scales(s: Source, shape: Dims): { block: number[]; scale: HostTensor } {
  const block = shape.map(() => s.pick(0, 1, 2, 3));
  return { block, scale: s.tensor(s.pick('f32', 'f8e8m0fnu'), blocked(shape, block)) };
}

const generators: Readonly<Record<string, (s: Source) => Draw>> = {
  constant: (s) => ({ operands: [], attributes: { value: 1, dtype: s.anyDType(), shape: s.dims(0, 3) } }),
  iota(s) {
    const shape = s.dims(1, 3);
    return { operands: [], attributes: { dtype: s.pick('i32', 'f32'), shape, axis: s.int(0, shape.length - 1) } };
  },
  convert: (s) => ({
    operands: [s.tensor(s.pick('f32', 'bf16', 'f8e5m2'), s.dims(0, 3))],
    attributes: { to: s.pick('f32', 'bf16', 'f16', 'f8e4m3fn') },
  }),
  ...{ negate: unary, abs: unary, exp: unary, log: unary, sqrt: unary, silu: unary },
  ...{ add: numeric, subtract: numeric, multiply: numeric, divide: numeric, maximum: numeric, minimum: numeric },
  compare: (s) => ({ ...numeric(s), attributes: { direction: s.pick('EQ', 'NE', 'LT', 'LE', 'GT', 'GE') } }),
  ...{ and: (s) => pair(s, 'bool'), or: (s) => pair(s, 'bool'), swiglu: (s) => pair(s, 'f32') },
  not: (s) => ({ operands: [s.tensor('bool', s.dims(0, 3))], attributes: {} }),
  select(s) {
    const shape = s.dims(0, 3);
    const dtype = s.anyDType();
    return { operands: [s.tensor('bool', shape), s.tensor(dtype, shape), s.tensor(dtype, shape)], attributes: {} };
  },
  broadcast_in_dim(s) {
    const shape = s.dims(2, 4);
    const dims = axesOf(shape).filter(() => s.int(0, 1) === 1);
    const from = dims.map((axis) => (s.int(0, 1) === 1 ? shape[axis]! : 1));
    return { operands: [s.tensor(s.anyDType(), from)], attributes: { shape, dims } };
  },
  reshape(s) {
    const shape = s.dims(2, 4);
    return {
      operands: [s.tensor(s.anyDType(), shape)],
      attributes: { shape: [shape[0]! * shape[1]!, ...shape.slice(2), 1] },
    };
  },
  transpose(s) {
    const shape = s.dims(0, 4);
    const permutation = axesOf(shape).sort(() => s.int(0, 1) - 0.5);
    return { operands: [s.tensor(s.anyDType(), shape)], attributes: { permutation } };
  },
  slice(s) {
    const shape = s.dims(0, 4);
    const start = shape.map((dim) => s.int(0, dim));
    const limit = shape.map((dim, i) => s.int(start[i]!, dim));
    return {
      operands: [s.tensor(s.anyDType(), shape)],
      attributes: { start, limit, stride: shape.map(() => s.int(1, 3)) },
    };
  },
  concatenate(s) {
    const shape = s.dims(1, 3);
    const axis = s.int(0, shape.length - 1);
    const dtype = s.anyDType();
    return {
      operands: [s.tensor(dtype, shape), s.tensor(dtype, replaceAt(shape, axis, s.int(0, 4)))],
      attributes: { axis },
    };
  },
  reduce(s) {
    const shape = s.dims(1, 3);
    const kind = s.pick('sum', 'max', 'min');
    const axes =
      kind === 'sum' ? [s.int(0, shape.length - 1)] : axesOf(shape).filter((axis) => axis === 0 || s.int(0, 1) === 1);
    return { operands: [s.tensor('f32', shape)], attributes: { kind, axes, keep: s.int(0, 1) === 1 } };
  },
  dot_general(s) {
    const [b, m, n, k] = [s.int(0, 3), s.int(0, 5), s.int(0, 6), s.int(0, 40)];
    const dtype = s.pick('f32', 'bf16', 'f16', 'f8e4m3fn', 'f8e5m2');
    return {
      operands: [s.tensor(dtype, [m, b, k]), s.tensor(dtype, [b, k, n])],
      attributes: { lhs_contract: [2], rhs_contract: [1], lhs_batch: [1], rhs_batch: [0], promote: s.int(1, 20) },
    };
  },
  gather(s) {
    const shape = s.dims(1, 4);
    const axis = s.int(0, shape.length - 1);
    const batch = s.int(0, axis);
    const operand = replaceAt(shape, axis, s.int(1, 5));
    const indices = s.indices([...shape.slice(0, batch), ...s.dims(0, 2)], operand[axis]!);
    return { operands: [s.tensor(s.anyDType(), operand), indices], attributes: { axis, batch_dims: batch } };
  },
  dynamic_update_slice(s) {
    const shape = s.dims(2, 4);
    const axis = s.int(1, shape.length - 1);
    const dtype = s.anyDType();
    const start = s.tensor('i32', [shape[0]!]);
    return {
      operands: [s.tensor(dtype, shape), s.tensor(dtype, replaceAt(shape, axis, s.int(0, 9))), start],
      attributes: { axis },
    };
  },
  paged_update(s) {
    const [slots, ...rest] = s.dims(1, 3);
    const [pages, rows, tokens, columns] = [s.int(0, 4), s.int(0, 3), s.int(0, 5), s.int(0, 3)];
    const dtype = s.anyDType();
    return {
      operands: [
        s.tensor(dtype, [pages, slots!, ...rest]),
        s.tensor(dtype, [rows, tokens, ...rest]),
        s.indices([rows, columns], 7),
        s.tensor('i32', [rows]),
      ],
      attributes: {},
    };
  },
  paged_gather(s) {
    const cache = s.tensor(s.anyDType(), s.dims(2, 4));
    return { operands: [cache, s.indices([s.int(0, 3), s.int(0, 3)], 6)], attributes: {} };
  },
  amax(s) {
    const shape = s.dims(0, 3);
    return { operands: [s.tensor(s.pick('f32', 'bf16'), shape)], attributes: { block: scales(s, shape).block } };
  },
  compute_scale(s) {
    const [rounding, to] = s.pick(['none', 'f32'], ['pow2_up', 'f8e8m0fnu'], ['pow2_nearest', 'f32']);
    return { operands: [s.tensor('f32', s.dims(0, 3))], attributes: { max: 448, rounding: rounding!, to: to! } };
  },
  quantize(s) {
    const shape = s.dims(0, 3);
    const { block, scale } = scales(s, shape);
    return {
      operands: [s.tensor(s.pick('f32', 'bf16'), shape), scale],
      attributes: { to: s.pick('f8e4m3fn', 'f8e5m2'), block },
    };
  },
  stochastic_quantize(s) {
    const shape = s.dims(0, 3);
    const { block, scale } = scales(s, shape);
    return {
      operands: [s.tensor(s.pick('f32', 'bf16'), shape), scale, s.tensor('i32', [1])],
      attributes: { to: s.pick('f8e4m3fn', 'f8e5m2'), block, stream: s.int(0, 9) },
    };
  },
  dequantize(s) {
    const shape = s.dims(0, 3);
    const { block, scale } = scales(s, shape);
    return {
      operands: [s.tensor(s.pick('f8e4m3fn', 'f8e5m2'), shape), scale],
      attributes: { to: s.pick('f32', 'bf16'), block },
    };
  },
  scaled_dot(s) {
    const [a, m, n, k] = [s.int(0, 3), s.int(0, 4), s.int(0, 6), s.int(0, 40)];
    const [left, right] = [
      [1, s.pick(0, 2), s.pick(0, 8, 16)],
      [s.pick(0, 8), s.pick(0, 3)],
    ];
    return {
      operands: [
        s.tensor('f8e4m3fn', [a, m, k]),
        s.tensor(s.pick('f8e5m2', 'bf16'), [k, n]),
        s.tensor('f8e8m0fnu', blocked([a, m, k], left)),
        s.tensor('f32', blocked([k, n], right)),
      ],
      attributes: { lhs_contract: [2], rhs_contract: [0], lhs_block: left, rhs_block: right, promote: s.pick(8, 64) },
    };
  },
  ...{ softmax: softmaxDraw, log_softmax: softmaxDraw },
  log_softmax_gather(s) {
    const shape = [...s.dims(0, 2), s.int(1, 9)];
    return { operands: [s.tensor('f32', shape), s.indices(shape.slice(0, -1), shape.at(-1)!)], attributes: {} };
  },
  scatter_add(s) {
    const [rows, width, count] = [s.int(1, 4), s.int(0, 5), s.int(0, 6)];
    const operands = [s.tensor('f32', [rows, width]), s.indices([count], rows), s.tensor('f32', [count, width])];
    return { operands, attributes: {} };
  },
  stop_gradient: (s) => ({ operands: [s.tensor('f32', s.dims(0, 3))], attributes: {} }),
  adamw_step(s) {
    const shape = s.dims(0, 3);
    const tensors = Array.from({ length: 4 }, () => s.tensor('f32', shape));
    const numbers = Array.from({ length: 3 }, () => s.tensor('f32', [1]));
    return { operands: [...tensors, ...numbers], attributes: { weight_decay: 0.1 } };
  },
  rms_norm: (s) => withLastAxis(s, { eps: 1e-5 }),
  bias_add: (s) => withLastAxis(s, {}),
  rope(s) {
    const [b, t, h, half, rest] = [s.int(0, 3), s.int(0, 4), s.int(0, 3), s.int(1, 3), s.int(0, 2)];
    const table = () => s.tensor('f32', [12, half]);
    return {
      operands: [s.tensor('f32', [b, t, h, 2 * half + rest]), table(), table(), s.indices(s.pick([b], [b, t]), 8)],
      attributes: {},
    };
  },
  attention(s) {
    const [b, t, keys, heads, group, d] = [
      s.int(0, 3),
      s.int(0, 4),
      s.int(0, 9),
      s.int(1, 2),
      s.int(1, 3),
      s.int(0, 5),
    ];
    const dtype = s.pick<DType>('f32', 'bf16', 'f8e4m3fn', 'f8e5m2');
    const pages = s.pick(undefined, s.indices([b, s.int(0, 3)], 6));
    const cached = [pages ? 5 : b, keys, heads];
    const cache = () => s.tensor(dtype, [...cached, d]);
    const scale = () => (dtype.startsWith('f8') ? s.tensor(s.pick('f32', 'f8e8m0fnu'), [...cached, 1]) : undefined);
    const q = s.tensor(dtype === 'f32' ? 'f32' : 'bf16', [b, t, heads * group, d]);
    return {
      operands: [
        ...[q, cache(), cache(), s.indices([b], 6), scale(), scale()],
        s.pick(undefined, s.indices([b, t], 9)),
        pages,
      ],
      attributes: { scale: 0.4, window: s.int(0, 3), probs: dtype === 'f32' ? 'f32' : s.pick('bf16', 'f8e4m3fn') },
    };
  },
  attention_grad(s) {
    let draw = generators.attention!(s);
    while (draw.operands[7]) draw = generators.attention!(s);
    const { operands, attributes } = draw;
    const [q, k, v, position, ...optional] = operands.slice(0, 7);
    return { operands: [q, k, v, position, s.tensor('f32', q!.type.shape as Dims), ...optional], attributes };
  },
  rms_norm_grad(s) {
    const { operands, attributes } = withLastAxis(s, { eps: 1e-5 });
    return { operands: [...operands, s.tensor('f32', operands[0]!.type.shape as Dims)], attributes };
  },
  swiglu_grad(s) {
    const shape = s.dims(0, 3);
    return { operands: [0, 1, 2].map(() => s.tensor('f32', shape)), attributes: {} };
  },
  log_softmax_gather_grad(s) {
    const [rows, n] = [s.dims(0, 2), s.int(0, 5)];
    return { operands: [s.tensor('f32', [...rows, n]), s.indices(rows, 7), s.tensor('f32', rows)], attributes: {} };
  },
  dynamic_quantize(s) {
    const shape = s.dims(0, 3);
    return {
      operands: [s.tensor(s.pick('f32', 'bf16'), shape)],
      attributes: {
        to: 'f8e5m2',
        block: shape.map(() => s.int(0, 3)),
        max: 57344,
        rounding: 'pow2_up',
        scale_dtype: s.pick('f32', 'f8e8m0fnu'),
      },
    };
  },
};

describe('results have the inferred type, and running an op changes no operand', () => {
  test.each(coreOps.list().map((op) => [op.name, op] as const))('%s', (name, op) => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (seed) => {
        const { operands, attributes } = generators[name]!(new Source(seed));
        const before = operands.map((x) => x && bitsOf(x));
        const inferred = op.infer(
          operands.map((x) => x?.type),
          attributes,
        ).results;
        const results = runOp(name, operands, attributes);
        expect(results.length).toBe(inferred.length);
        results.forEach((result, i) => {
          expect(sameType(result.type, inferred[i]!)).toBe(true);
          expect(result.data.length).toBe(result.type.shape.reduce((product, dim) => product * dim, 1));
        });
        expect(operands.map((x) => x && bitsOf(x))).toEqual(before);
        expect(
          Number.isFinite(
            op.flops(
              operands.map((x) => x?.type),
              op.infer(
                operands.map((x) => x?.type),
                attributes,
              ).attributes,
              results.map((x) => x.type),
            ),
          ),
        ).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});
