import { GraphBuilder, type Module, type Node, type Value } from '@quaver/ir';
import { f8e4m3fn, f8e8m0fnu } from '@quaver/numerics';
import { describe, expect, it } from 'vitest';
import { compile, withOptions } from '../src/index.ts';
import { everyLinearFp8 } from './fixtures/every-linear-fp8.ts';
import { runModule, zeroStates } from './fixtures/run-module.ts';
import { floatTensor, intTensor, randomNumbers, shape, smallLlama } from './fixtures/small-llama.ts';

const states = (module: Module) =>
  module.states.map(({ name, type }) => `${name.split('.').slice(-1)} ${type.dtype}[${type.shape}]`).slice(0, 4);
const attentionOf = (module: Module, fn: string): Node =>
  module.functions.find(({ name }) => name === fn)!.nodes.find((node) => node.op === 'attention')!;
const dtypesOf = (node: Node) => node.operands.map((value) => value?.type.dtype);

describe('caches and attention', () => {
  it('in f32 stay as they are', async () => {
    const { module } = await compile(smallLlama(), { recipe: 'f32' });
    expect(states(module)).toContain('k_cache f32[B,C,1,48]');
    expect(attentionOf(module, 'decode').attributes.probs).toBe('f32');
  });

  it('in bf16: tokens are rounded when they are written', async () => {
    const { module } = await compile(smallLlama(), { recipe: 'fp8-block' });
    expect(states(module).slice(0, 2)).toEqual(['k_cache bf16[B,C,1,48]', 'v_cache bf16[B,C,1,48]']);
    for (const fn of ['prefill', 'decode', 'logprobs']) {
      expect(dtypesOf(attentionOf(module, fn))).toEqual(['bf16', 'bf16', 'bf16', 'i32']);
      expect(attentionOf(module, fn).attributes.probs).toBe('bf16');
    }
  });

  it('in fp8: codes with one E8M0 scale per token and head, in a state of its own', async () => {
    const { module, report } = await compile(smallLlama(), { recipe: withOptions('fp8-block', { kvCache: 'fp8' }) });
    expect(states(module)).toEqual([
      'k_cache f8e4m3fn[B,C,1,48]',
      'k_cache_scale f8e8m0fnu[B,C,1,1]',
      'v_cache f8e4m3fn[B,C,1,48]',
      'v_cache_scale f8e8m0fnu[B,C,1,1]',
    ]);
    const dtypes = ['bf16', 'f8e4m3fn', 'f8e4m3fn', 'i32', 'f8e8m0fnu', 'f8e8m0fnu'];
    for (const fn of ['prefill', 'decode', 'logprobs']) expect(dtypesOf(attentionOf(module, fn))).toEqual(dtypes);
    const decode = module.functions.find(({ name }) => name === 'decode')!;
    expect(decode.updates.map(({ name }) => name.split('.').at(-1))).toHaveLength(4 * shape.layers);
    expect(report.attention[0]!.precision).toBe('bf16, keys and values fp8');
  });

  it('in fp8 throughout: queries on the E4M3 grid, probabilities in E4M3', async () => {
    const { module } = await compile(smallLlama(), { recipe: withOptions('fp8-block', { attention: 'fp8' }) });
    const attention = attentionOf(module, 'prefill');
    expect(attention.attributes.probs).toBe('f8e4m3fn');
    const prefill = module.functions.find(({ name }) => name === 'prefill')!;
    const query = prefill.nodes.find((node) => node.results.includes(attention.operands[0]!))!;
    expect([query.op, query.attributes.to]).toEqual(['dequantize', 'bf16']);
  });

  it('write a token as its codes over a power of two, the smallest that fits', async () => {
    const { module } = await compile(smallLlama(), { recipe: withOptions('fp8-block', { kvCache: 'fp8' }) });
    const { module: plain } = await compile(smallLlama(), { recipe: withOptions('fp8-block', {}), disable: [] });
    const inputs = { tokens: intTensor([1, 1], [7]), position: intTensor([1], [2]) };
    const sizes = { B: 1, C: 4 };
    const after = await runModule(module, 'decode', inputs, zeroStates(module, 'decode', sizes));
    const reference = await runModule(plain, 'decode', inputs, zeroStates(plain, 'decode', sizes));
    const name = 'model.layers.0.self_attn.v_cache';
    const codes = after.states[name]!.data.slice(2 * 48, 3 * 48);
    const scale = f8e8m0fnu.decode(after.states[`${name}_scale`]!.data[2]!);
    const values = Array.from(codes, (code) => f8e4m3fn.decode(code) * scale);
    const largest = Math.max(...values.map(Math.abs));
    expect(largest).toBeLessThanOrEqual(448 * scale);
    expect(largest).toBeGreaterThan(224 * scale * 0.9);
    // The bf16 cache of the same token: what the codes stand for, up to half a step of E4M3.
    const exact = Array.from(
      reference.states[name]!.data.slice(2 * 48, 3 * 48),
      (code) => new Float32Array(Uint32Array.of(code << 16).buffer)[0]!,
    );
    for (const [i, value] of values.entries()) {
      expect(Math.abs(value - exact[i]!)).toBeLessThanOrEqual(Math.max(Math.abs(exact[i]!) / 14, scale * 2 ** -9));
    }
    expect(after.states[name]!.data.slice(0, 96).every((code) => code === 0)).toBe(true);
  });
});

describe('caches that cannot change', () => {
  function cacheModule(extra: (g: GraphBuilder, state: Value, written: Value) => void): Module {
    const g = new GraphBuilder('decode');
    const x = g.input('x', 'f32', [1, 1, 2, 4]);
    const position = g.input('position', 'i32', [1]);
    const state = { name: 'layer.k_cache', type: { dtype: 'f32', shape: [1, 8, 2, 4] } } as const;
    const written = g.op('dynamic_update_slice', [g.state(state), x, position], { axis: 1 });
    g.update(state, written);
    g.output(
      'y',
      g.scope('layer', () => g.op('attention', [x, written, written, position], { scale: 0.5, probs: 'f32' })),
    );
    extra(g, g.state(state), written);
    return {
      name: 'm',
      symbols: [],
      parameters: [],
      states: [state],
      functions: [g.finish()],
      metadata: {},
      attachments: new Map(),
    };
  }

  it('lower when only attention reads them', async () => {
    const { report, module } = await compile(
      cacheModule(() => {}),
      { recipe: 'fp8-block', strict: true },
    );
    expect(report.attention).toHaveLength(1);
    expect(module.states[0]!.type.dtype).toBe('bf16');
  });

  it('are listed when something else reads the new or the old contents, or they are an output', async () => {
    const readers: ((g: GraphBuilder, state: Value, written: Value) => void)[] = [
      (g, _state, written) => g.output('z', g.op('negate', [written])),
      (g, state) => g.output('z', g.op('negate', [state])),
      (g, _state, written) => g.output('z', written),
    ];
    for (const reader of readers) {
      const { module, report } = await compile(cacheModule(reader), { recipe: 'fp8-block' });
      expect(report.not_lowered).toMatchObject([{ location: 'layer', op: 'attention', code: 'cache-use-unknown' }]);
      expect(module.states[0]!.type.dtype).toBe('f32');
    }
  });

  it('are listed when the phases that share them disagree', async () => {
    const module = smallLlama();
    const metadata = { ...module.metadata, 'phase.decode': 'train' };
    const recipe = withOptions('fp8-generate-only', { kvCache: 'fp8' });
    const { report } = await compile({ ...module, metadata }, { recipe });
    expect(new Set(report.not_lowered.map(({ code }) => code))).toEqual(new Set(['cache-phase-conflict']));
  });
});

describe('one value', () => {
  it('that is key and value at once is quantized once', async () => {
    const g = new GraphBuilder('logprobs');
    const x = g.input('x', 'f32', [1, 3, 2, 4]);
    const zero = g.op('constant', [], { value: 0, dtype: 'i32', shape: [1] });
    g.output('y', g.op('attention', [x, x, x, zero], { scale: 0.5, probs: 'f32' }));
    const module: Module = {
      name: 'm',
      symbols: [],
      parameters: [],
      states: [],
      functions: [g.finish()],
      metadata: {},
      attachments: new Map(),
    };
    const { module: compiled } = await compile(module, { recipe: withOptions('fp8-block', { attention: 'fp8' }) });
    const ops = compiled.functions[0]!.nodes.map((node) => node.op);
    expect(ops).toEqual(['constant', 'dynamic_quantize', 'dequantize', 'attention']);
    const y = (await runModule(compiled, 'logprobs', { x: floatTensor([1, 3, 2, 4], randomNumbers(24, 1)) })).outputs
      .y!;
    expect(y.data.every(Number.isFinite)).toBe(true);
  });

  it('that q, k and v projections share is quantized once', async () => {
    const { module } = await compile(smallLlama(), { recipe: everyLinearFp8 });
    const decode = module.functions.find(({ name }) => name === 'decode')!;
    const quantized = decode.nodes.filter((node) => node.op === 'dynamic_quantize').length;
    const products = decode.nodes.filter((node) => node.op === 'scaled_dot').length;
    expect([quantized, products]).toEqual([4 * shape.layers, 7 * shape.layers]);
    const inputs = decode.nodes.filter(
      (node) => /0\.self_attn\.[qkv]_proj/.test(node.location) && node.op === 'scaled_dot',
    );
    expect(new Set(inputs.map((node) => node.operands[0])).size).toBe(1);
  });
});
