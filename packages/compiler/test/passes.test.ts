import { type Dim, GraphBuilder, type Module, type StateVariable, type Value } from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import { compile } from '../src/index.ts';
import { runModule } from './fixtures/run-module.ts';
import { floatTensor, randomNumbers } from './fixtures/small-llama.ts';

function moduleOf(build: (g: GraphBuilder, x: Value) => void, shape: readonly Dim[] = [4, 6]): Module {
  const g = new GraphBuilder('main');
  build(g, g.input('x', 'f32', shape));
  return {
    name: 'm',
    symbols: [],
    parameters: [],
    states: [],
    functions: [g.finish()],
    metadata: {},
    attachments: new Map(),
  };
}

async function opsAfter(module: Module, ...only: string[]): Promise<string[]> {
  const { module: after } = await compile(module, { recipe: 'f32', only });
  return after.functions[0]!.nodes.map((node) => node.op);
}

const simplify = (build: (g: GraphBuilder, x: Value) => Value, shape?: readonly Dim[]) =>
  opsAfter(
    moduleOf((g, x) => g.output('y', build(g, x)), shape),
    'canonicalize',
    'dce',
  );

describe('canonicalize', () => {
  it('removes a widening that is narrowed again, never a narrowing', async () => {
    const narrow = (g: GraphBuilder, x: Value) => g.convert(x, 'bf16');
    expect(await simplify((g, x) => g.convert(g.convert(narrow(g, x), 'f32'), 'bf16'))).toEqual(['convert']);
    expect(await simplify((g, x) => g.convert(narrow(g, x), 'f32'))).toEqual(['convert', 'convert']);
    // bf16 to f16 drops and adds bits: only the detour over f32 goes.
    expect(await simplify((g, x) => g.convert(g.convert(narrow(g, x), 'f32'), 'f16'))).toEqual(['convert', 'convert']);
    expect(await simplify((g, x) => g.convert(g.convert(g.convert(x, 'f16'), 'bf16'), 'f16'))).toHaveLength(3);
  });

  it('leaves conversions from and to FP8 alone', async () => {
    const toFp8 = (g: GraphBuilder, x: Value) => g.op('convert', [x], { to: 'f8e4m3fn' });
    expect(await simplify((g, x) => toFp8(g, g.convert(toFp8(g, x), 'f32')))).toEqual([
      'convert',
      'convert',
      'convert',
    ]);
    expect(await simplify((g, x) => g.convert(g.convert(toFp8(g, x), 'f32'), 'bf16'))).toHaveLength(3);
  });

  it('knows which neutral elements change no bit: −0 and +0 are not the same', async () => {
    const constant = (g: GraphBuilder, value: number) => g.constant(value, 'f32', [4, 6]);
    expect(await simplify((g, x) => g.op('multiply', [constant(g, 1), x]))).toEqual([]);
    expect(await simplify((g, x) => g.op('divide', [x, constant(g, 1)]))).toEqual([]);
    expect(await simplify((g, x) => g.op('subtract', [x, constant(g, 0)]))).toEqual([]);
    expect(await simplify((g, x) => g.op('subtract', [x, constant(g, -0)]))).toEqual(['constant', 'subtract']);
    expect(await simplify((g, x) => g.op('add', [x, constant(g, 0)]))).toEqual(['constant', 'add']);
    expect(await simplify((g, x) => g.op('divide', [constant(g, 1), x]))).toEqual(['constant', 'divide']);
  });

  it('removes movements that move nothing and joins those that follow each other', async () => {
    expect(
      await simplify((g, x) => g.op('reshape', [g.op('reshape', [x], { shape: [24] })], { shape: [4, 6] })),
    ).toEqual([]);
    expect(
      await simplify((g, x) => g.op('reshape', [g.op('reshape', [x], { shape: [24] })], { shape: [6, 4] })),
    ).toEqual(['reshape']);
    const turn = (g: GraphBuilder, x: Value) => g.op('transpose', [x], { permutation: [1, 0] });
    expect(await simplify((g, x) => turn(g, turn(g, x)))).toEqual([]);
    expect(await simplify((g, x) => turn(g, x))).toEqual(['transpose']);
    expect(await simplify((g, x) => g.op('slice', [x], { start: [0, 0], limit: [4, 6], stride: [1, 1] }))).toEqual([]);
    const swap = (g: GraphBuilder, x: Value) => g.op('broadcast_in_dim', [x], { shape: [4, 4], dims: [1, 0] });
    expect(await simplify(swap, [4, 4])).toEqual(['broadcast_in_dim']);
  });

  it('joins transposes in the right order', async () => {
    for (const [first, second] of [
      [
        [1, 2, 0],
        [1, 2, 0],
      ],
      [
        [1, 2, 0],
        [0, 2, 1],
      ],
      [
        [2, 0, 1],
        [1, 2, 0],
      ],
    ]) {
      const module = moduleOf(
        (g, x) => {
          const turned = g.op('transpose', [x], { permutation: first! });
          g.output('y', g.op('transpose', [turned], { permutation: second! }));
        },
        [2, 3, 4],
      );
      const inputs = { x: floatTensor([2, 3, 4], randomNumbers(24, 1)) };
      const { module: after } = await compile(module, { recipe: 'f32', only: ['canonicalize', 'dce'] });
      expect(after.functions[0]!.nodes.length).toBeLessThan(2);
      expect(await runModule(after, 'main', inputs)).toEqual(await runModule(module, 'main', inputs));
    }
  });

  it('gathers from a table before it widens', async () => {
    const g = new GraphBuilder('main');
    const ids = g.input('ids', 'i32', [3]);
    const table = { name: 'table', type: { dtype: 'bf16', shape: [10, 4] } } as const;
    g.output('y', g.op('gather', [g.convert(g.parameter(table), 'f32'), ids], { axis: 0 }));
    const parameters = [{ ...table, data: undefined, trainable: true }];
    const module = { ...moduleOf((inner, x) => inner.output('y', x)), parameters, functions: [g.finish()] };
    expect(await opsAfter(module, 'canonicalize', 'dce')).toEqual(['gather', 'convert']);
  });
});

describe('cse', () => {
  const count = async (build: (g: GraphBuilder, x: Value) => readonly Value[]) => {
    const module = moduleOf((g, x) => {
      for (const [i, value] of build(g, x).entries()) g.output(`y${i}`, value);
    });
    return (await opsAfter(module, 'cse')).length;
  };
  const quantize = (g: GraphBuilder, x: Value, block: readonly number[]) => {
    const scale = g.op('compute_scale', [g.op('amax', [x], { block })], { max: 448, rounding: 'pow2_up' });
    return g.op('quantize', [x, scale], { to: 'f8e4m3fn', block });
  };

  it('quantizes one value once when it is quantized the same way', async () => {
    expect(await count((g, x) => [quantize(g, x, [1, 0]), quantize(g, x, [1, 0])])).toBe(3);
    expect(await count((g, x) => [quantize(g, x, [1, 0]), quantize(g, x, [0, 0])])).toBe(6);
  });

  it('tells −0 from 0 and NaN from Infinity', async () => {
    const constants = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NaN];
    expect(await count((g) => constants.map((value) => g.constant(value)))).toBe(4);
  });

  it('does not merge requests of different layers', async () => {
    const dot = (g: GraphBuilder, x: Value, location: string, request: string) =>
      g.op(
        'dot_general',
        [x, x],
        { lhs_contract: [1], rhs_contract: [1] },
        { location, annotations: { precision: request } },
      );
    expect(await count((g, x) => [dot(g, x, 'a', 'linear@bf16'), dot(g, x, 'b', 'linear@bf16')])).toBe(2);
    expect(await count((g, x) => [dot(g, x, 'a', 'linear@bf16'), dot(g, x, 'a', 'linear@f32')])).toBe(2);
    expect(await count((g, x) => [dot(g, x, 'a', 'linear@bf16'), dot(g, x, 'a', 'linear@bf16')])).toBe(1);
  });
});

describe('dce', () => {
  it('drops what nobody reads, with its parameters and states, and keeps inputs', async () => {
    const g = new GraphBuilder('main');
    const x = g.input('x', 'f32', [2]);
    g.input('unused', 'f32', [2]);
    const parameter = { name: 'w', type: { dtype: 'f32', shape: [2] }, data: undefined, trainable: true } as const;
    const states: StateVariable[] = ['read', 'written', 'dead'].map((name) => ({
      name,
      type: { dtype: 'f32', shape: [2] },
    }));
    g.op('add', [g.parameter(parameter), g.state(states[2]!)]);
    g.update(states[1]!, g.op('add', [x, g.state(states[0]!)]));
    g.output('y', x);
    const base = moduleOf((inner, value) => inner.output('y', value));
    const { module } = await compile(
      { ...base, parameters: [parameter], states, functions: [g.finish()] },
      { recipe: 'f32', only: ['dce'] },
    );
    expect(module.parameters).toEqual([]);
    expect(module.states.map(({ name }) => name)).toEqual(['read', 'written']);
    expect(module.functions[0]!.inputs.map(({ name }) => name)).toEqual(['x', 'unused']);
    expect(module.functions[0]!.nodes.map((node) => node.op)).toEqual(['add']);
  });
});

describe('infer-shapes', () => {
  it('makes numbers of symbols with one possible value, in types, attributes and states', async () => {
    const g = new GraphBuilder('main');
    const x = g.input('x', 'f32', ['B', 'T', 4]);
    const state: StateVariable = { name: 's', type: { dtype: 'f32', shape: ['B', '2*T'] } };
    const flat = g.op('reshape', [x], { shape: ['B', '4*T'] });
    g.update(state, g.op('slice', [g.state(state)], { start: [0, 0], limit: ['B', '2*T'], stride: [1, 1] }));
    g.output('y', g.op('amax', [flat], { block: [1, 128] }));
    const symbols = [
      { name: 'B', min: 1, max: 8, multiple: 1 },
      { name: 'T', min: 96, max: 96, multiple: 1 },
    ];
    const base = moduleOf((inner, value) => inner.output('y', value));
    const { module } = await compile(
      { ...base, symbols, states: [state], functions: [g.finish()] },
      { recipe: 'f32', only: ['infer-shapes'] },
    );
    const fn = module.functions[0]!;
    expect(module.symbols.map(({ name }) => name)).toEqual(['B']);
    expect(module.states[0]!.type.shape).toEqual(['B', 192]);
    expect(fn.outputs[0]!.value.type.shape).toEqual(['B', 3]);
    expect(fn.nodes[0]!.attributes.shape).toEqual(['B', 384]);
  });
});

describe('fuse', () => {
  const fused = (build: (g: GraphBuilder, x: Value) => void) => opsAfter(moduleOf(build), 'fuse');
  const primitiveSilu = (g: GraphBuilder, x: Value, one = 1) => {
    const exp = g.op('exp', [g.op('negate', [x])]);
    return g.op('divide', [x, g.op('add', [g.constant(one, 'f32', [4, 6]), exp])]);
  };

  it('builds swiglu from primitives, in either order of the product', async () => {
    expect(await fused((g, x) => g.output('y', g.op('multiply', [primitiveSilu(g, x), x])))).toEqual(['swiglu']);
    expect(await fused((g, x) => g.output('y', g.op('multiply', [x, g.op('silu', [x])])))).toEqual(['swiglu']);
  });

  it('builds nothing from what only looks alike', async () => {
    expect(await fused((g, x) => g.output('y', primitiveSilu(g, x, 2)))).not.toContain('silu');
    expect(await fused((g, x) => g.output('y', g.op('divide', [g.op('abs', [x]), x])))).toEqual(['abs', 'divide']);
  });

  it('builds dynamic_quantize only when all three agree', async () => {
    const chain = (amaxBlock: readonly number[], block: readonly number[], saturate = true) =>
      fused((g, x) => {
        const scale = g.op('compute_scale', [g.op('amax', [x], { block: amaxBlock })], { max: 448, rounding: 'none' });
        g.output('scale', scale);
        g.output('q', g.op('quantize', [x, scale], { to: 'f8e4m3fn', block, saturate }));
      });
    expect(await chain([1, 0], [1, 0])).toEqual(['dynamic_quantize']);
    expect(await chain([1, 0], [1, 0], false)).toEqual(['amax', 'compute_scale', 'quantize']);
    // The same scales, cut another way: 0 and 6 are both the whole axis.
    expect(await chain([1, 6], [1, 0])).toEqual(['amax', 'compute_scale', 'quantize']);
    const other = await fused((g, x) => {
      const scale = g.op('compute_scale', [g.op('amax', [g.op('abs', [x])], { block: [1, 0] })], {
        max: 448,
        rounding: 'none',
      });
      g.output('q', g.op('quantize', [x, scale], { to: 'f8e4m3fn', block: [1, 0] }));
    });
    expect(other).not.toContain('dynamic_quantize');
  });

  it('builds log_softmax_gather unless somebody else reads the log-probabilities', async () => {
    const gather = (keep: boolean, axis = 1) =>
      fused((g, x) => {
        const targets = g.input('targets', 'i32', [4]);
        const logprobs = g.op('log_softmax', [x], { axis });
        g.output('y', g.op('gather', [logprobs, targets], { axis: 1, batch_dims: 1 }));
        if (keep) g.output('all', logprobs);
      });
    expect(await gather(false)).toEqual(['log_softmax_gather']);
    expect(await gather(true)).toEqual(['log_softmax', 'gather']);
    expect(await gather(false, 0)).toEqual(['log_softmax', 'gather']);
  });
});
