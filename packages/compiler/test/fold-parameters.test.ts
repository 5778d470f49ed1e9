import { coreOps, GraphBuilder, type Module, type Parameter, type TensorData, type Value } from '@quaver/ir';
import { f8e4m3fn, QuantizationStats } from '@quaver/numerics';
import { describe, expect, it } from 'vitest';
import { FoldedData } from '../src/folding/folded-data.ts';
import { builtInRecipes, compile, formatReport, withOptions } from '../src/index.ts';
import { emitKeeping } from '../src/passes/emit.ts';
import { randomNumbers, smallLlama } from './fixtures/small-llama.ts';

/** Counts how often and by how many readers at once the bytes are asked for. */
class CountedData implements TensorData {
  readonly byteLength: number;
  reads = 0;
  readonly #bytes: Uint8Array;

  constructor(values: Float32Array) {
    this.#bytes = new Uint8Array(values.buffer);
    this.byteLength = this.#bytes.byteLength;
  }

  read(): Promise<Uint8Array> {
    this.reads++;
    return Promise.resolve(this.#bytes);
  }
}

function moduleOf(build: (g: GraphBuilder, w: Value, x: Value) => Value, dims: readonly number[] = [6, 8]) {
  const values = randomNumbers(
    dims.reduce((product, dim) => product * dim, 1),
    1,
  );
  const data = new CountedData(values);
  const parameter: Parameter = { name: 'w', type: { dtype: 'f32', shape: dims }, data, trainable: true };
  const g = new GraphBuilder('main');
  const x = g.input('x', 'f32', dims);
  g.output('y', build(g, g.parameter(parameter), x));
  const module: Module = {
    name: 'm',
    symbols: [],
    parameters: [parameter],
    states: [],
    functions: [g.finish()],
    metadata: {},
    attachments: new Map(),
  };
  return { module, data, values };
}

const fold = async (module: Module) => (await compile(module, { recipe: 'f32', only: ['fold-constants'] })).module;
const opsOf = (module: Module) => module.functions[0]!.nodes.map((node) => node.op);

function quantizeChain(g: GraphBuilder, w: Value, block: readonly number[]) {
  const scale = g.op('compute_scale', [g.op('amax', [w], { block })], { max: 448, rounding: 'none' });
  return { q: g.op('quantize', [w, scale], { to: 'f8e4m3fn', block }), scale };
}

describe('weights', () => {
  it('are computed when they are read, once for codes and scales together', async () => {
    const { module, data, values } = moduleOf((g, w, x) => {
      const { q, scale } = quantizeChain(g, w, [0, 0]);
      return g.op('add', [x, g.op('dequantize', [q, scale], { to: 'f32', block: [0, 0] })]);
    });
    const folded = await fold(module);
    expect(opsOf(folded)).toEqual(['dequantize', 'add']);
    expect(folded.parameters.map(({ name, type }) => `${name} ${type.dtype}[${type.shape}]`)).toEqual([
      'w f8e4m3fn[6,8]',
      'w_scale_inv f32[1,1]',
    ]);
    expect(data.reads).toBe(0);
    const read = async (name: string) => (await folded.parameters.find((p) => p.name === name)!.data!.read()).slice();
    const codes = await read('w');
    const scale = new Float32Array((await read('w_scale_inv')).buffer);
    expect(data.reads).toBe(1);
    const amax = Math.max(...values.map(Math.abs));
    expect(scale[0]).toBe(Math.fround(amax / 448));
    expect(codes).toEqual(Uint8Array.from(values, (x) => f8e4m3fn.encode(Math.fround(x / scale[0]!))));
    // Read again: computed again, to the same bytes.
    expect(await read('w')).toEqual(codes);
    expect(data.reads).toBe(2);
  });

  it('are never folded through dequantize or a conversion from FP8', async () => {
    const { module } = moduleOf((g, w, x) => {
      const { q, scale } = quantizeChain(g, w, [0, 0]);
      const restored = g.op('negate', [g.op('dequantize', [q, scale], { to: 'f32', block: [0, 0] })]);
      return g.op('add', [x, g.op('add', [restored, g.op('convert', [q], { to: 'f32' })])]);
    });
    const folded = await fold(module);
    expect(opsOf(folded)).toEqual(['dequantize', 'negate', 'convert', 'add', 'add']);
    expect(folded.parameters.map(({ type }) => type.dtype).sort()).toEqual(['f32', 'f8e4m3fn']);
  });

  it('keep a rounding that was asked for: f32 to bf16 to f32', async () => {
    const { module, values } = moduleOf((g, w, x) => g.op('add', [x, g.convert(g.convert(w, 'bf16'), 'f32')]));
    const { module: compiled } = await compile(module, { recipe: 'f32' });
    const stored = new Float32Array((await compiled.parameters[0]!.data!.read()).slice().buffer);
    const rounded = values.map((x) => new Float32Array(Uint32Array.of((roundBits(x) >>> 16) << 16).buffer)[0]!);
    expect(stored).toEqual(rounded);
    expect(stored).not.toEqual(values);
  });

  it('are not folded into something larger', async () => {
    const { module } = moduleOf(
      (g, w, x) => g.op('add', [x, g.op('broadcast_in_dim', [w], { shape: [6, 8], dims: [0, 1] })]),
      [6, 8],
    );
    expect(opsOf(await fold(module))).toEqual(['add']);
    const wide = moduleOf((g, w) => g.op('broadcast_in_dim', [w], { shape: [50, 8], dims: [0, 1] }), [1, 8]);
    expect(opsOf(await fold(wide.module))).toEqual(['broadcast_in_dim']);
  });

  it('stay when their bytes are not known', async () => {
    const { module } = moduleOf((g, w, x) => g.op('add', [x, g.op('negate', [w])]));
    const structure = { ...module, parameters: module.parameters.map((p) => ({ ...p, data: undefined })) };
    expect(await fold(structure)).toBe(structure);
  });

  it('wait for fp8-lower while precision requests are pending', async () => {
    const before = await compile(smallLlama(), { recipe: 'fp8-block', stopAfter: 'dce' });
    expect(before.module.parameters.every(({ type }) => type.dtype === 'bf16' || type.shape[0] === 16)).toBe(true);
  });
});

/** The bits of x rounded to bf16, nearest even, by integer arithmetic. */
function roundBits(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0]!;
  return bits + 0x7fff + ((bits >>> 16) & 1);
}

describe('emit', () => {
  it('gives the same bytes and statistics whether they stay in memory or are computed again', async () => {
    const { module } = await compile(smallLlama(), { recipe: 'mxfp8', stopAfter: 'plan-memory' });
    const run = async (keptBytes: number) => {
      const weightStatistics = new Map();
      const recipe = builtInRecipes.get('mxfp8')!;
      const nothing = { target: undefined, signal: undefined, onProgress: undefined, assignments: [] };
      const context = { recipe, registry: coreOps, weightStatistics, ...nothing };
      const emitted = await emitKeeping(keptBytes).run(module, context);
      const tensors: Record<string, Uint8Array> = {};
      for (const { name, data } of emitted.parameters) tensors[name] = (await data!.read()).slice();
      const inMemory = emitted.parameters.filter(({ data }) => !(data instanceof FoldedData)).length;
      return { tensors, weightStatistics, inMemory };
    };
    const [kept, again] = [await run(1e9), await run(0)];
    expect(again.tensors).toEqual(kept.tensors);
    expect(again.weightStatistics).toEqual(kept.weightStatistics);
    expect(kept.weightStatistics.size).toBe(14);
    // The embedding table and the two RoPE tables were never folded.
    expect([kept.inMemory, again.inMemory]).toEqual([kept.inMemory, 3]);
    expect(kept.inMemory).toBe(Object.keys(kept.tensors).length);
  });
});

describe('names', () => {
  const namesOf = async (options: Parameters<typeof withOptions>[1], tied: boolean) => {
    const { module } = await compile(smallLlama({ dtype: 'f32', tied }), { recipe: withOptions('fp8-block', options) });
    const shown = module.parameters.filter(({ name }) => /embed|lm_head|0\.mlp\.up/.test(name));
    return Object.fromEntries(shown.map(({ name, type }) => [name, type.dtype]));
  };
  const layer = {
    'model.layers.0.mlp.up_proj.weight': 'f8e4m3fn',
    'model.layers.0.mlp.up_proj.weight_scale_inv': 'f32',
  };

  it('are those of the Hugging Face FP8 layout', async () => {
    expect(await namesOf({}, true)).toEqual({ 'model.embed_tokens.weight': 'bf16', ...layer });
    expect(await namesOf({}, false)).toEqual({
      'model.embed_tokens.weight': 'bf16',
      ...layer,
      'lm_head.weight': 'bf16',
    });
  });

  it('give a tied table that is also an FP8 projection a second name', async () => {
    expect(await namesOf({ lmHead: 'fp8' }, true)).toEqual({
      'model.embed_tokens.weight': 'bf16',
      ...layer,
      'lm_head.weight': 'f8e4m3fn',
      'lm_head.weight_scale_inv': 'f32',
    });
  });
});

describe('statistics of weights', () => {
  for (const recipe of ['fp8-block', 'fp8-row', 'mxfp8', 'fp8-tensor']) {
    it(`are those of numerics, summed over blocks (${recipe})`, async () => {
      const [rows, columns] = [130, 70];
      const values = randomNumbers(rows * columns, 5).map((x, i) => (i % 13 === 0 ? x * 1e-6 : x));
      values[77] = Number.POSITIVE_INFINITY;
      values[4000] = 0;
      const data = new CountedData(values);
      const parameter: Parameter = {
        name: 'layer.weight',
        type: { dtype: 'f32', shape: [rows, columns] },
        data,
        trainable: true,
      };
      const g = new GraphBuilder('main');
      const x = g.input('x', 'f32', [3, columns]);
      g.output(
        'y',
        g.scope('layer', () =>
          g.op('dot_general', [x, g.parameter(parameter)], { lhs_contract: [1], rhs_contract: [1] }),
        ),
      );
      const module = { ...smallLlama(), states: [], parameters: [parameter], functions: [g.finish()] };
      const { module: compiled, report } = await compile(module, { recipe });
      const tensors = new Map<string, Uint8Array>();
      for (const p of compiled.parameters) tensors.set(p.name, await p.data!.read());
      const linear = builtInRecipes.get(recipe)!.generate.linear;
      const granularity = typeof linear === 'string' ? 'row' : linear.weight.granularity;
      const [blockRows, blockColumns] =
        granularity === 'tensor'
          ? [rows, columns]
          : granularity === 'row'
            ? [1, columns]
            : (granularity as { block: [number, number] }).block;
      const scaleBytes = tensors.get('layer.weight_scale_inv')!;
      const scales =
        recipe === 'mxfp8'
          ? Array.from(scaleBytes, (code) => 2 ** (code - 127))
          : Array.from(new Float32Array(scaleBytes.slice().buffer));
      const stats = new QuantizationStats();
      const across = Math.ceil(columns / blockColumns);
      for (let row = 0; row < rows; row++) {
        for (let from = 0; from < columns; from += blockColumns) {
          const end = row * columns + Math.min(columns, from + blockColumns);
          const scale = scales[Math.floor(row / blockRows) * across + from / blockColumns]!;
          const codes = tensors.get('layer.weight')!.subarray(row * columns + from, end);
          stats.addCodes(values.subarray(row * columns + from, end), codes, f8e4m3fn, scale);
        }
      }
      const { snr_db, ...counts } = stats.toJSON();
      const { snr_db: found, scale_min, scale_max, ...foundCounts } = report.linears[0]!.statistics!;
      expect(foundCounts).toEqual(counts);
      expect(found).toBeCloseTo(snr_db, 9);
      expect([scale_min, scale_max]).toEqual([Math.min(...scales), Math.max(...scales)]);
      expect(counts.underflow).toBeGreaterThan(0);
      expect(counts.non_finite).toBe(1);
      expect(formatReport(report)).toContain(' dB, 1 not finite');
    });
  }
});
