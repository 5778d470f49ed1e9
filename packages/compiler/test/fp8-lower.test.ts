import { GraphBuilder, type Module, memoryData, type Node, type Parameter } from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import { builtInRecipes, compile, type Recipe, withOptions } from '../src/index.ts';
import { manualBlockLinear } from './fixtures/manual-linear.ts';
import { firstDifference, runModule } from './fixtures/run-module.ts';
import { floatTensor, randomNumbers, smallLlama } from './fixtures/small-llama.ts';

const rows = 5;
const outputs = 150;
const depth = 300;

function weightParameter(name: string, dims: readonly number[], values: Float32Array): Parameter {
  return {
    name,
    type: { dtype: 'f32', shape: dims },
    data: memoryData(new Uint8Array(values.buffer)),
    trainable: true,
  };
}

interface LinearShape {
  readonly location?: string;
  readonly transposed?: boolean;
  readonly swapped?: boolean;
}

function oneLinear({ location = 'layer', transposed = false, swapped = false }: LinearShape = {}) {
  const weight = randomNumbers(outputs * depth, 3).map((x, i) => x * 2 ** (i % 7) * (i % 11 === 0 ? 0 : 1));
  const input = randomNumbers(rows * depth, 4).map((x, i) => x * 3 ** (Math.floor(i / depth) - 2));
  const stored = transposed ? transpose(weight, outputs, depth) : weight;
  const parameter = weightParameter('layer.weight', transposed ? [depth, outputs] : [outputs, depth], stored);
  const g = new GraphBuilder('prefill');
  const x = g.input('x', 'f32', ['B', depth]);
  const w = g.parameter(parameter);
  const contract = transposed ? 0 : 1;
  const y = g.scope(location, () =>
    swapped
      ? g.op('dot_general', [w, x], { lhs_contract: [contract], rhs_contract: [1] })
      : g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [contract] }),
  );
  g.output('y', y);
  const module: Module = {
    name: 'one-linear',
    symbols: [{ name: 'B', min: 1, max: 16, multiple: 1 }],
    parameters: [parameter],
    states: [],
    functions: [g.finish()],
    metadata: {},
    attachments: new Map(),
  };
  return { module, weight, input };
}

function transpose(values: Float32Array, rowCount: number, columns: number): Float32Array {
  return values.map((_, i) => values[(i % rowCount) * columns + Math.floor(i / rowCount)]!);
}

async function runLinear(module: Module, input: Float32Array) {
  return (await runModule(module, 'prefill', { x: floatTensor([rows, depth], input) })).outputs.y!;
}

describe('a linear layer in fp8-block', () => {
  it('gives the bits of a computation by hand', async () => {
    const { module, weight, input } = oneLinear();
    const compiled = await compile(module, { recipe: 'fp8-block', strict: true });
    expect(compiled.module.functions[0]!.nodes.map((node) => node.op)).toEqual(['dynamic_quantize', 'scaled_dot']);
    const expected = manualBlockLinear(input, weight, { rows, outputs, depth });
    expect(
      firstDifference(await runLinear(compiled.module, input), floatTensor([rows, outputs], expected)),
    ).toBeUndefined();
  });

  it('does so too when the weight is stored transposed', async () => {
    const { module, weight, input } = oneLinear({ transposed: true });
    const compiled = await compile(module, { recipe: 'fp8-block', strict: true });
    const expected = manualBlockLinear(input, weight, { rows, outputs, depth });
    expect(
      firstDifference(await runLinear(compiled.module, input), floatTensor([rows, outputs], expected)),
    ).toBeUndefined();
  });

  it('does so too when the weight is the left operand', async () => {
    const { module, weight, input } = oneLinear({ swapped: true });
    const compiled = await compile(module, { recipe: 'fp8-block', strict: true });
    const expected = transpose(manualBlockLinear(input, weight, { rows, outputs, depth }), rows, outputs);
    expect(
      firstDifference(await runLinear(compiled.module, input), floatTensor([outputs, rows], expected)),
    ).toBeUndefined();
  });

  it('gives the same bits whether weights are folded or quantized in every step', async () => {
    const { module, input } = oneLinear();
    const folded = await compile(module, { recipe: 'fp8-block' });
    const open = await compile(module, { recipe: 'fp8-block', disable: ['fold-constants'] });
    expect(open.module.parameters[0]!.type.dtype).toBe('f32');
    expect(firstDifference(await runLinear(open.module, input), await runLinear(folded.module, input))).toBeUndefined();
  });
});

describe('every recipe', () => {
  const tolerance: Record<string, number> = { f32: 0, bf16: 0.02 };
  for (const name of builtInRecipes.keys()) {
    it(`${name} stays near the f32 product`, async () => {
      const { module, weight, input } = oneLinear();
      const { module: compiled } = await compile(module, { recipe: name });
      const states =
        name === 'fp8-delayed'
          ? { 'layer.input_amax_history': floatTensor([1024], new Float32Array(1024).fill(9)) }
          : {};
      const y = (await runModule(compiled, 'prefill', { x: floatTensor([rows, depth], input) }, states)).outputs.y!;
      let [error, size] = [0, 0];
      for (let row = 0; row < rows; row++) {
        for (let out = 0; out < outputs; out++) {
          let exact = 0;
          for (let k = 0; k < depth; k++) exact += input[row * depth + k]! * weight[out * depth + k]!;
          error += (y.data[row * outputs + out]! - exact) ** 2;
          size += exact ** 2;
        }
      }
      const relative = Math.sqrt(error / size);
      expect(relative).toBeLessThan((tolerance[name] ?? 0.06) + 1e-6);
      if (name.includes('fp8')) expect(relative).toBeGreaterThan(0.001);
    });
  }
});

describe('requests', () => {
  const annotated = async (module: Module, recipe: string | Recipe) => {
    const { module: before } = await compile(module, { recipe, stopAfter: 'annotate-precision' });
    return before.functions.flatMap((fn) =>
      fn.nodes.filter((node) => node.annotations.precision).map((node) => `${fn.name} ${node.location} ${role(node)}`),
    );
  };
  const role = (node: Node) => node.annotations.precision!.split('@')[0];

  for (const recipe of [...builtInRecipes.keys(), 'mixed']) {
    it(`all end lowered, kept or listed with a reason (${recipe})`, async () => {
      const module = recipe === 'mixed' ? withOddities(smallLlama()) : smallLlama({ tied: recipe === 'bf16' });
      const chosen = recipe === 'mixed' ? withOptions('fp8-block', { attention: 'fp8', lmHead: 'fp8' }) : recipe;
      const asked = await annotated(module, chosen);
      expect(asked.length).toBeGreaterThan(40);
      const { module: compiled, report } = await compile(module, { recipe: chosen });
      const listed = new Set([
        ...report.linears.flatMap((row) => row.functions.map((fn) => `${fn} ${row.location} linear`)),
        ...report.attention.flatMap((row) => row.functions.map((fn) => `${fn} ${row.location} attention`)),
        ...report.kept.flatMap((row) => row.functions.map((fn) => `${fn} ${row.location} ${row.role}`)),
        ...report.not_lowered.flatMap((row) => row.functions.map((fn) => `${fn} ${row.location} ${roleOf[row.op]}`)),
      ]);
      expect(asked.filter((request) => !listed.has(request))).toEqual([]);
      for (const fn of compiled.functions)
        for (const node of fn.nodes) expect(node.annotations.precision).toBeUndefined();
      if (recipe === 'mixed')
        expect(report.not_lowered.map(({ code }) => code).sort()).toEqual(['batched-dot', 'weight-rank']);
    });
  }
  const roleOf: Record<string, string> = { dot_general: 'linear', attention: 'attention', gather: 'embedding' };

  it('that a rule keeps carry the rule into the report', async () => {
    const recipe = {
      ...builtInRecipes.get('fp8-block')!,
      keep: [{ match: '*.layers.{0}.mlp.*', precision: 'f32' as const }],
    };
    const { report } = await compile(smallLlama(), { recipe });
    const kept = report.kept
      .filter(({ role }) => role === 'linear')
      .map(({ location, precision, rule }) => [location, precision, rule]);
    expect(kept).toEqual(
      ['gate_proj', 'up_proj', 'down_proj'].map((name) => [`model.layers.0.mlp.${name}`, 'f32', '*.layers.{0}.mlp.*']),
    );
    expect(report.linears.some(({ location }) => location === 'lm_head')).toBe(true);
  });

  it('of fp8-generate-only differ by phase, and each phase has its own copy of a weight', async () => {
    const weight = 'model.layers.0.self_attn.q_proj.weight';
    const copies = async (dtype: 'f32' | 'bf16') => {
      const { module, report } = await compile(smallLlama({ dtype }), { recipe: 'fp8-generate-only' });
      const layer = report.linears.filter(({ location }) => `${location}.weight` === weight);
      return layer.map((row) => {
        const parameter = module.parameters.find(({ name }) => name === row.weight)!;
        return [row.functions.join(), row.weight, parameter.type.dtype];
      });
    };
    // A name that the original parameter still has is not free; otherwise the codes get it.
    expect(await copies('f32')).toEqual([
      ['prefill,decode', weight, 'f8e4m3fn'],
      ['logprobs', `${weight}.bf16`, 'bf16'],
    ]);
    expect(await copies('bf16')).toEqual([
      ['prefill,decode', `${weight}.f8e4m3fn`, 'f8e4m3fn'],
      ['logprobs', weight, 'bf16'],
    ]);
  });

  it('are refused on a module that was compiled before', async () => {
    const { module } = await compile(smallLlama(), { recipe: 'fp8-block' });
    await expect(compile(module, { recipe: 'bf16' })).rejects.toMatchObject({ code: 'module-already-lowered' });
  });

  it('without the recipe that they refer to are an error', async () => {
    const { module } = await compile(smallLlama(), { recipe: 'fp8-block', stopAfter: 'annotate-precision' });
    const { recipe: _, ...metadata } = module.metadata;
    await expect(compile({ ...module, metadata }, { recipe: 'fp8-block', only: ['fp8-lower'] })).rejects.toMatchObject({
      code: 'recipe-missing',
    });
  });
});

/** Adds layers that FP8 cannot take: a grouped product and a weight of rank 3. */
function withOddities(module: Module): Module {
  const grouped = weightParameter('experts.weight', [2, 8, 16], randomNumbers(256, 9));
  const deep = weightParameter('deep.weight', [2, 8, 16], randomNumbers(256, 10));
  const g = new GraphBuilder('extra');
  const x = g.input('x', 'f32', [2, 4, 16]);
  const batched = { lhs_contract: [2], rhs_contract: [2], lhs_batch: [0], rhs_batch: [0] };
  g.output(
    'a',
    g.scope('experts', () => g.op('dot_general', [x, g.parameter(grouped)], batched)),
  );
  g.output(
    'b',
    g.scope('deep', () => g.op('dot_general', [x, g.parameter(deep)], { lhs_contract: [2], rhs_contract: [2] })),
  );
  return { ...module, parameters: [...module.parameters, grouped, deep], functions: [...module.functions, g.finish()] };
}

describe('weights that come in FP8', () => {
  async function quantized(block: readonly number[], format = 'f8e4m3fn') {
    const codes = Uint8Array.from(randomNumbers(outputs * depth, 5), (x) => Math.floor((x + 1) * 60));
    const scales = randomNumbers(6, 6).map((x) => x + 1.5);
    const scaleShape = [Math.ceil(outputs / block[0]!), Math.ceil(depth / block[1]!)];
    const q: Parameter = {
      name: 'layer.weight',
      type: { dtype: format as 'f8e4m3fn', shape: [outputs, depth] },
      data: memoryData(codes),
      trainable: true,
    };
    const s = weightParameter('layer.weight_scale_inv', scaleShape, scales);
    const g = new GraphBuilder('prefill');
    const x = g.input('x', 'f32', ['B', depth]);
    const w = g.op('dequantize', [g.parameter(q), g.parameter(s)], { to: 'f32', block });
    g.output(
      'y',
      g.scope('layer', () => g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] })),
    );
    return { module: { ...oneLinear().module, parameters: [q, s], functions: [g.finish()] }, codes, scales };
  }

  it('are taken as they are when format and blocks are the recipe’s', async () => {
    const { module, codes, scales } = await quantized([128, 128]);
    const { module: compiled, report } = await compile(module, { recipe: 'fp8-block', strict: true });
    expect(compiled.functions[0]!.nodes.map((node) => node.op)).toEqual(['dynamic_quantize', 'scaled_dot']);
    expect(await compiled.parameters[0]!.data!.read()).toEqual(codes);
    expect(await compiled.parameters[1]!.data!.read()).toEqual(new Uint8Array(scales.buffer));
    expect(report.linears[0]).toMatchObject({ weight: 'layer.weight', statistics: undefined });
  });

  it('are not quantized a second time when the recipe wants other blocks', async () => {
    const { module } = await quantized([75, 100]);
    const { module: compiled, report } = await compile(module, { recipe: 'fp8-block' });
    expect(report.not_lowered).toMatchObject([{ location: 'layer', code: 'weight-already-quantized' }]);
    expect(compiled.functions[0]!.nodes.map((node) => node.op)).toEqual(['dequantize', 'dot_general']);
    await expect(compile(module, { recipe: 'fp8-block', strict: true })).rejects.toMatchObject({
      code: 'compile-not-lowered',
      where: { location: 'layer', reason: 'weight-already-quantized', count: 1 },
    });
  });

  it('are not taken when only the format differs', async () => {
    const { module } = await quantized([128, 128], 'f8e5m2');
    const { report } = await compile(module, { recipe: 'fp8-block' });
    expect(report.not_lowered).toMatchObject([
      { code: 'weight-already-quantized', reason: expect.stringContaining('f8e5m2') },
    ]);
  });

  it('are never unfolded into high-precision parameters', async () => {
    const { module } = await quantized([128, 128]);
    for (const recipe of ['bf16', 'f32']) {
      const { module: compiled } = await compile(module, { recipe });
      expect(compiled.parameters.map(({ type }) => type.dtype)).toEqual(['f8e4m3fn', 'f32']);
      expect(compiled.functions[0]!.nodes[0]!.op).toBe('dequantize');
    }
  });
});

describe('fp8-delayed', () => {
  it('reads the history and leaves it; an empty one gives scale 1', async () => {
    const { module, input } = oneLinear();
    const { module: compiled } = await compile(module, { recipe: 'fp8-delayed' });
    expect(compiled.states).toEqual([{ name: 'layer.input_amax_history', type: { dtype: 'f32', shape: [1024] } }]);
    expect(compiled.functions[0]!.updates).toEqual([]);
    const scales = async (latest: number) => {
      const history = new Float32Array(1024);
      history[1000] = latest;
      const states = { 'layer.input_amax_history': floatTensor([1024], history) };
      return runModule(compiled, 'prefill', { x: floatTensor([rows, depth], input) }, states);
    };
    const [empty, set] = [await scales(0), await scales(896)];
    // amax 896 gives scale 2: a different grid, hence different bits; amax 448 gives scale 1, as the empty history does.
    expect(firstDifference(empty.outputs.y!, (await scales(448)).outputs.y!)).toBeUndefined();
    expect(firstDifference(empty.outputs.y!, set.outputs.y!)).toMatch(/./);
  });

  it('takes the latest amax, and a margin, when the recipe says so', async () => {
    const base = builtInRecipes.get('fp8-delayed')!;
    const linear = base.generate.linear as Exclude<Recipe['generate']['linear'], string>;
    const history = { length: 8, algorithm: 'most_recent', margin: 1 } as const;
    const phase = { ...base.generate, linear: { ...linear, input: { ...linear.input, history } } };
    const { module, input } = oneLinear();
    const { module: compiled } = await compile(module, { recipe: { ...base, generate: phase } });
    const { module: plain } = await compile(module, { recipe: base });
    const run = (m: Module, values: readonly number[]) =>
      runModule(
        m,
        'prefill',
        { x: floatTensor([rows, depth], input) },
        {
          'layer.input_amax_history': floatTensor([values.length], Float32Array.from(values)),
        },
      );
    const recent = await run(compiled, [9, 9, 9, 9, 9, 9, 9, 2]);
    const maximum = await run(plain, [4, ...new Array<number>(1023).fill(0)]);
    expect(firstDifference(recent.outputs.y!, maximum.outputs.y!)).toBeUndefined();
  });

  it('needs a location to name the history after', async () => {
    const { report } = await compile(oneLinear({ location: '' }).module, { recipe: 'fp8-delayed' });
    expect(report.not_lowered).toMatchObject([{ code: 'location-missing' }]);
  });
});
