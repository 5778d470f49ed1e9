import {
  findFunction,
  GraphBuilder,
  type HostTensor,
  type Module,
  memoryData,
  multiplyDims,
  type Node,
  type Value,
} from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import {
  builtInRecipes,
  compile,
  differentiate,
  formatReport,
  gradientOutput,
  type QuantizedLinear,
  type Recipe,
  withOptions,
} from '../src/index.ts';
import { everyLinearFp8 } from './fixtures/every-linear-fp8.ts';
import { f32Parameter, linearGradientModule, llamaGradientModule } from './fixtures/gradient-modules.ts';
import { manualBlockLinear } from './fixtures/manual-linear.ts';
import { firstDifference, runModule } from './fixtures/run-module.ts';
import { floatTensor, intTensor, randomNumbers, shape } from './fixtures/small-llama.ts';

// Two whole blocks and a ragged one along every axis.
const [tokens, outputs, depth] = [300, 150, 140];
const name = 'layer.weight';
const weight = randomNumbers(outputs * depth, 3).map((x, i) => x * 2 ** (i % 7));
const x = randomNumbers(tokens * depth, 4).map((value, i) => value * 3 ** (Math.floor(i / depth) % 5));
const dy = randomNumbers(tokens * outputs, 5).map((value, i) => value * 2 ** -(i % 9));

const transpose = (values: Float32Array, rows: number, columns: number) =>
  values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);

interface Layout {
  readonly swapped?: boolean;
  readonly transposed?: boolean;
}

const linear = ({ transposed = false, ...layout }: Layout = {}) =>
  linearGradientModule(
    transposed
      ? f32Parameter(name, [depth, outputs], transpose(weight, outputs, depth))
      : f32Parameter(name, [outputs, depth], weight),
    { transposed, ...layout },
  );

async function gradients(module: Module, { swapped = false }: Layout = {}, states: Record<string, HostTensor> = {}) {
  const c = swapped
    ? floatTensor([outputs, tokens], transpose(dy, tokens, outputs))
    : floatTensor([tokens, outputs], dy);
  return runModule(module, 'loss', { x: floatTensor([tokens, depth], x), c }, states);
}

const lossOf = (module: Module) => findFunction(module, 'loss')!;
const without = (recipe: string): Recipe => ({ ...builtInRecipes.get(recipe)!, keep: [] });
const open = (module: Module, recipe: string | Recipe) =>
  compile(module, { recipe, strict: true, disable: ['fold-constants'] });

/** Where a value comes from through codes, scales and copies: the first node or input that is none of those. */
function sourceOf(value: Value, nodes: readonly Node[]): { readonly source: Value; readonly path: readonly string[] } {
  const node = nodes.find(({ results }) => results.includes(value));
  const passes = ['dynamic_quantize', 'quantize', 'transpose', 'reshape', 'convert', 'dequantize'];
  if (!node || !passes.includes(node.op)) return { source: value, path: [] };
  const { source, path } = sourceOf(node.operands[0]!, nodes);
  return { source, path: [...path, node.op] };
}

describe('gradients of a linear layer in fp8-block', () => {
  for (const layout of [{}, { transposed: true }, { swapped: true }, { swapped: true, transposed: true }]) {
    it(`are the bits of a computation by hand ${JSON.stringify(layout)}`, async () => {
      const { module } = await open(linear(layout), 'fp8-block');
      const { outputs: found } = await gradients(module, layout);
      const dx = manualBlockLinear(dy, transpose(weight, outputs, depth), {
        rows: tokens,
        outputs: depth,
        depth: outputs,
      });
      const [dyT, xT] = [transpose(dy, tokens, outputs), transpose(x, tokens, depth)];
      // Both operands of wgrad are quantized in 128 tokens of one row of their transposes.
      const dw = manualBlockLinear(dyT, xT, { rows: outputs, outputs: depth, depth: tokens }, 1);
      const expected = layout.transposed
        ? floatTensor([depth, outputs], transpose(dw, outputs, depth))
        : floatTensor([outputs, depth], dw);
      expect(firstDifference(found[gradientOutput('x')]!, floatTensor([tokens, depth], dx))).toBeUndefined();
      expect(firstDifference(found[gradientOutput(name)]!, expected)).toBeUndefined();
    });
  }

  it('share the codes of the weight with the forward product, and quantize dy and x once each way', async () => {
    const { module } = await open(linear(), 'fp8-block');
    const { nodes } = lossOf(module);
    const quantized = nodes
      .filter(({ op }) => op === 'dynamic_quantize')
      .map((node) => {
        const { source, path } = sourceOf(node.results[0]!, nodes);
        return [source.name, path.join(' '), node.attributes.to, node.attributes.block];
      });
    const dyName = lossOf(module).nodes.find(({ annotations }) => annotations.gradient_of === 'multiply')!.results[0]!
      .name;
    expect(quantized).toEqual([
      [name, 'dynamic_quantize', 'f8e4m3fn', [128, 128]],
      ['x', 'dynamic_quantize', 'f8e4m3fn', [1, 128]],
      [dyName, 'dynamic_quantize', 'f8e4m3fn', [1, 128]],
      // No dequantize on the way: the tokens of f32 values are quantized, not those of rounded ones.
      [dyName, 'transpose dynamic_quantize', 'f8e4m3fn', [1, 128]],
      ['x', 'transpose dynamic_quantize', 'f8e4m3fn', [1, 128]],
    ]);
    expect(products(module)).toEqual([
      'linear f8e4m3fn[1,128] x f8e4m3fn[128,128]',
      'linear.dgrad f8e4m3fn[1,128] x f8e4m3fn[128,128]',
      'linear.wgrad f8e4m3fn[1,128] x f8e4m3fn[1,128]',
    ]);
  });
});

const products = (module: Module) =>
  lossOf(module).nodes.flatMap(({ op, annotations }) => {
    return op === 'scaled_dot' || op === 'dot_general' ? [annotations.lowered] : [];
  });

describe('the products of a layer in every recipe', () => {
  const expected: Record<string, readonly [string, string]> = {
    f32: ['f32', 'f32'],
    bf16: ['bf16', 'bf16'],
    'fp8-generate-only': ['bf16', 'bf16'],
    'fp8-block': ['f8e4m3fn[1,128] x f8e4m3fn[128,128]', 'f8e4m3fn[1,128] x f8e4m3fn[1,128]'],
    'fp8-block-f32': ['f8e4m3fn[1,128] x f8e4m3fn[128,128]', 'f8e4m3fn[1,128] x f8e4m3fn[1,128]'],
    'fp8-tensor': ['f8e5m2[tensor] x f8e4m3fn[tensor]', 'f8e5m2[tensor] x f8e4m3fn[tensor]'],
    'fp8-delayed': ['f8e5m2[delayed] x f8e4m3fn[tensor]', 'f8e5m2[delayed] x f8e4m3fn[delayed]'],
    'fp8-row': ['f8e4m3fn[row] x f8e4m3fn[row]', 'f8e4m3fn[row] x f8e4m3fn[row]'],
    mxfp8: ['f8e4m3fn[1,32] x f8e4m3fn[1,32]', 'f8e4m3fn[1,32] x f8e4m3fn[1,32]'],
  };

  it('are those of its table', () => {
    expect(Object.keys(expected).sort()).toEqual([...builtInRecipes.keys()].sort());
  });

  for (const [recipe, [dgrad, wgrad]] of Object.entries(expected)) {
    it(`${recipe}: dgrad ${dgrad}, wgrad ${wgrad}`, async () => {
      const { module, report } = await open(linear(), recipe);
      expect(products(module).slice(1)).toEqual([`linear.dgrad ${dgrad}`, `linear.wgrad ${wgrad}`]);
      expect(report.linears.slice(1)).toMatchObject([
        { location: 'layer', product: 'dgrad', precision: dgrad },
        { location: 'layer', product: 'wgrad', precision: wgrad },
      ]);
      const text = formatReport(report);
      expect(text).toContain('; 1 linear layers and 2 of their gradient products, 0 kept, 0 not lowered');
      expect(text.split('\n').find((line) => line.includes('wgrad'))).toContain(`layer     wgrad    ${wgrad}`);
      const ops = lossOf(module)
        .nodes.map(({ op }) => op)
        .filter((op) => op.endsWith('dot') || op === 'dot_general');
      expect(new Set(ops)).toEqual(new Set([dgrad.startsWith('f8') ? 'scaled_dot' : 'dot_general']));
    });
  }

  it('quantize a tensor once where one scale is for all of it', async () => {
    const { module } = await open(linear(), 'fp8-tensor');
    const quantized = lossOf(module).nodes.filter(({ op }) => op === 'dynamic_quantize');
    expect(quantized.map(({ attributes }) => [attributes.to, attributes.block])).toEqual([
      ['f8e4m3fn', [0, 0]],
      ['f8e4m3fn', [0, 0]],
      ['f8e5m2', [0, 0]],
    ]);
  });

  it('convert a tensor to bf16 once', async () => {
    const { module } = await open(linear(), 'bf16');
    expect(lossOf(module).nodes.filter(({ op }) => op === 'convert')).toHaveLength(3);
  });
});

describe('recipes', () => {
  const changed = (change: Partial<QuantizedLinear>, base = 'fp8-block'): Recipe => {
    const recipe = without(base);
    return {
      ...recipe,
      train: { ...recipe.train, linear: { ...(recipe.train.linear as QuantizedLinear), ...change } },
    };
  };
  const e4m3 = (granularity: QuantizedLinear['input']['granularity']) =>
    ({ format: 'f8e4m3fn', granularity, scale: { rounding: 'pow2_up', dtype: 'f32' } }) as const;

  it('give products a precision of their own', async () => {
    const { module } = await open(linear(), changed({ dgrad: { weight: e4m3('row') }, wgrad: 'bf16' }));
    expect(products(module).slice(1)).toEqual(['linear.dgrad f8e4m3fn[1,128] x f8e4m3fn[row]', 'linear.wgrad bf16']);
    const { module: plain } = await open(
      linear(),
      changed({ dgrad: 'f32', wgrad: { input: e4m3({ block: [1, 32] }) } }),
    );
    expect(products(plain).slice(1)).toEqual(['linear.dgrad f32', 'linear.wgrad f8e4m3fn[1,128] x f8e4m3fn[1,32]']);
  });

  it('keep all three products of a layer by one rule', async () => {
    const keep = [{ match: 'layer', precision: 'bf16' as const }];
    const { module, report } = await open(linear(), { ...everyLinearFp8, keep });
    expect(products(module)).toEqual(['linear bf16', 'linear.dgrad bf16', 'linear.wgrad bf16']);
    expect(report.kept.map(({ location, role, rule }) => [location, role, rule])).toEqual(
      ['linear', 'linear.dgrad', 'linear.wgrad'].map((role) => ['layer', role, 'layer']),
    );
  });

  it('cannot ask for what does not go together', async () => {
    const delayed = { ...e4m3('delayed'), history: { length: 4, algorithm: 'max', margin: 0 } } as const;
    const wrong: [Partial<QuantizedLinear>, RegExp][] = [
      [
        { wgrad: { input: e4m3({ block: [1, 48] }) } },
        /train\.linear\.wgrad: blocks of 128 \(grad_output\) and 48 \(input\)/,
      ],
      [
        { dgrad: { grad_output: e4m3({ block: [1, 96] }) } },
        /train\.linear\.dgrad: blocks of 96 .* and 128 \(weight\)/,
      ],
      [{ dgrad: { grad_output: delayed } }, /train\.linear\.dgrad\.grad_output\.granularity is delayed/],
      [{ wgrad: { grad_output: e4m3('delayed') } }, /train\.linear\.wgrad\.grad_output\.history/],
      [{ wgrad: 'fp16' as 'bf16' }, /train\.linear\.wgrad: expected one of f32, bf16/],
      [{ dgrad: { input: e4m3('row') } as object }, /train\.linear\.dgrad: unknown field input/],
    ];
    for (const [change, message] of wrong) {
      await expect(open(linear(), changed(change))).rejects.toMatchObject({
        code: 'recipe-invalid',
        message: expect.stringMatching(message),
      });
    }
  });
});

describe('products that cannot be lowered', () => {
  it('are listed with their layer', async () => {
    const module = linearGradientModule(f32Parameter(name, [outputs, depth], weight), { location: '' });
    const { report } = await compile(module, { recipe: 'fp8-delayed' });
    expect(report.not_lowered.map(({ op, code }) => [op, code])).toEqual([
      ['dot_general', 'location-missing'],
      ['dot_general (dgrad)', 'location-missing'],
      ['dot_general (wgrad)', 'location-missing'],
    ]);
    await expect(compile(module, { recipe: 'fp8-delayed', strict: true })).rejects.toMatchObject({
      code: 'compile-not-lowered',
      where: { count: 3 },
    });
  });

  it('are refused where their blocks do not fit the partial sums of the product', async () => {
    const module = linear();
    const fn = lossOf(module);
    // Only dgrad has partial sums of 96 elements.
    const nodes = fn.nodes.map((node) =>
      node.annotations.gradient_product === 'dgrad'
        ? { ...node, attributes: { ...node.attributes, promote: 96 } }
        : node,
    );
    const { module: lowered, report } = await compile(
      { ...module, functions: [{ ...fn, nodes }] },
      { recipe: 'fp8-block', disable: ['fold-constants'] },
    );
    expect(report.not_lowered).toMatchObject([
      { location: 'layer', op: 'dot_general (dgrad)', code: 'scaled-dot-rules', reason: expect.stringContaining('96') },
    ]);
    expect(products(lowered).map((product) => product !== undefined)).toEqual([true, false, true]);
  });
});

describe('a weight that comes in FP8', () => {
  /** The module with the weight as codes and scales, restored by a `dequantize`. */
  function stored(block: readonly [number, number]): Module {
    const codes = Uint8Array.from(randomNumbers(outputs * depth, 5), (value) => Math.floor((value + 1) * 60));
    const scaleShape = [Math.ceil(outputs / block[0]), Math.ceil(depth / block[1])];
    const scales = randomNumbers(scaleShape[0]! * scaleShape[1]!, 6).map((value) => value + 1.5);
    const scale = f32Parameter('layer.weight_scale_inv', scaleShape, scales);
    const quantized = { name, type: { dtype: 'f8e4m3fn', shape: [outputs, depth] }, trainable: true } as const;
    const g = new GraphBuilder('loss');
    const input = g.input('x', 'f32', ['L', depth]);
    const w = g.op('dequantize', [g.parameter(quantized), g.parameter(scale)], { to: 'f32', block });
    const y = g.scope('layer', () => g.op('dot_general', [input, w], { lhs_contract: [1], rhs_contract: [1] }));
    const flat = g.op('reshape', [g.op('multiply', [y, g.input('c', 'f32', ['L', outputs])])], {
      shape: [multiplyDims('L', outputs)],
    });
    g.output('loss', g.op('reduce', [flat], { kind: 'sum', axes: [0] }));
    return {
      ...linear(),
      parameters: [
        { ...quantized, data: memoryData(codes) },
        { ...scale, trainable: false },
      ],
      functions: [differentiate(g.finish(), { loss: 'loss', wrt: ['x', name] })],
    };
  }

  it('is taken as it is by dgrad too when its blocks are the recipe’s', async () => {
    const { module } = await open(stored([128, 128]), 'fp8-block');
    const weights = lossOf(module).nodes.flatMap(({ op, operands }) =>
      op === 'scaled_dot' ? [operands[1]!.ref, operands[3]!.ref] : [],
    );
    expect(weights.slice(0, 4)).toEqual([name, `${name}_scale_inv`, name, `${name}_scale_inv`]);
  });

  it('keeps all three products from FP8 when it would be quantized again', async () => {
    const { report, module } = await compile(stored([75, 100]), { recipe: 'fp8-block' });
    expect(report.not_lowered.map(({ location, op, code }) => [location, op, code])).toEqual(
      ['dot_general', 'dot_general (dgrad)', 'dot_general (wgrad)'].map((op) => [
        'layer',
        op,
        'weight-already-quantized',
      ]),
    );
    expect(lossOf(module).nodes.some(({ op }) => op === 'scaled_dot')).toBe(false);
  });
});

describe('a decoder', () => {
  it('quantizes what layers share once: inputs along tokens, caches and queries for attention and its gradient', async () => {
    const { module } = await open(await llamaGradientModule(), withOptions(everyLinearFp8, { attention: 'fp8' }));
    const { nodes } = lossOf(module);
    const operandsOf = (op: string) => nodes.find((node) => node.op === op)!.operands;
    const [attention, gradient] = [operandsOf('attention'), operandsOf('attention_grad')];
    // The first gradient of the backward pass is that of the last attention.
    expect(gradient.slice(0, 3)).toEqual(nodes.findLast((node) => node.op === 'attention')!.operands.slice(0, 3));
    expect(attention.slice(0, 3).map((value) => value!.type.dtype)).toEqual(['bf16', 'f8e4m3fn', 'f8e4m3fn']);
    const wgrads = (pattern: RegExp) =>
      nodes.filter(
        ({ annotations, location }) => annotations.lowered?.startsWith('linear.wgrad') && pattern.test(location),
      );
    const [qkv, gates] = [wgrads(/layers\.0.*[qkv]_proj/), wgrads(/layers\.0.*(gate|up)_proj/)];
    expect([qkv.length, gates.length]).toEqual([3, 2]);
    for (const products of [qkv, gates]) expect(new Set(products.map(({ operands }) => operands[1])).size).toBe(1);
    // In a layer 4 inputs and 7 weights, 7 gradients two ways, and 4 inputs along tokens; besides q, k and v.
    const quantized = nodes.filter((node) => node.op === 'dynamic_quantize' && /layers\.0/.test(node.location));
    expect(quantized).toHaveLength(4 + 7 + 2 * 7 + 4 + 3);
  });

  it('has no product in f32 where the recipe says otherwise, and attention has no linear rule', async () => {
    const { module, report } = await compile(await llamaGradientModule(), { recipe: 'bf16', strict: true });
    const dots = lossOf(module).nodes.filter(({ op }) => op === 'dot_general');
    expect(dots).toHaveLength(3 * (7 * shape.layers + 1));
    for (const { operands } of dots) expect(operands.map((value) => value!.type.dtype)).toEqual(['bf16', 'bf16']);
    const attention = report.attention.filter(({ functions }) => functions.includes('loss'));
    expect(attention.map(({ location, role }) => [location, role]).sort()).toEqual([
      ['model.layers.0.self_attn', 'attention'],
      ['model.layers.0.self_attn', 'attention.gradient'],
      ['model.layers.1.self_attn', 'attention'],
      ['model.layers.1.self_attn', 'attention.gradient'],
    ]);
  });

  it('computed again for the backward pass has the same products', async () => {
    const recipe = 'fp8-delayed';
    const [kept, again] = await Promise.all([
      compile(await llamaGradientModule(), { recipe, strict: true }),
      compile(await llamaGradientModule({ remat: 'layers' }), { recipe, strict: true }),
    ]);
    const states = Object.fromEntries(
      kept.module.states.map(({ name: state, type }) => {
        const [length] = type.shape as [number];
        return [state, floatTensor([length], new Float32Array(length).fill(state.includes('grad') ? 0.01 : 9))];
      }),
    );
    expect(again.module.states).toEqual(kept.module.states);
    const inputs = { tokens: intTensor([1, 3], [3, 17, 9]), targets: intTensor([1, 3], [17, 9, 0]) };
    const [a, b] = [
      await runModule(kept.module, 'loss', inputs, states),
      await runModule(again.module, 'loss', inputs, states),
    ];
    for (const [output, expected] of Object.entries(a.outputs)) {
      expect(firstDifference(b.outputs[output]!, expected), output).toBeUndefined();
    }
    expect(b.states).toEqual(a.states);
  });
});
