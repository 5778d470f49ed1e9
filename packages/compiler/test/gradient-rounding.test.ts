import { findFunction, type HostTensor, type Module } from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import {
  builtInRecipes,
  compile,
  gradientOutput,
  type Quantization,
  type QuantizedLinear,
  type Recipe,
  recipeStates,
} from '../src/index.ts';
import { f32Parameter, linearGradientModule } from './fixtures/gradient-modules.ts';
import { firstDifference, runModule } from './fixtures/run-module.ts';
import { floatTensor, intTensor, randomNumbers } from './fixtures/small-llama.ts';

const [tokens, outputs, depth] = [8, 4, 6];
const name = 'layer.weight';

/** A recipe whose gradients are rounded stochastically, in both phases. */
function stochastic(base: string, change: Partial<QuantizedLinear> = {}): Recipe {
  const recipe = builtInRecipes.get(base)!;
  const linear = recipe.train.linear as QuantizedLinear;
  const rounded = { ...linear, grad_output: { ...linear.grad_output, rounding: 'stochastic' as const }, ...change };
  return { ...recipe, keep: [], train: { ...recipe.train, linear: rounded } };
}

const compiled = async (recipe: string | Recipe): Promise<Module> => {
  const weight = f32Parameter(name, [outputs, depth], randomNumbers(outputs * depth, 3));
  const { module } = await compile(linearGradientModule(weight), { recipe, strict: true });
  return module;
};

const inputs = {
  x: floatTensor([tokens, depth], randomNumbers(tokens * depth, 4)),
  c: floatTensor([tokens, outputs], randomNumbers(tokens * outputs, 5)),
};

async function run(module: Module, seed: number) {
  const states: Record<string, HostTensor> = { rounding_seed: intTensor([1], [seed]) };
  for (const { name: state, type } of module.states) {
    const shape = type.shape as number[];
    if (type.dtype === 'f32') states[state] = floatTensor(shape, new Float32Array(shape[0]!).fill(1));
  }
  return runModule(module, 'loss', inputs, states);
}

const casts = (module: Module) => findFunction(module, 'loss')!.nodes.filter(({ op }) => op === 'stochastic_quantize');

describe('stochastic rounding of gradients', () => {
  it('draws numbers of its own for each product, and one where both products share their codes', async () => {
    const block = casts(await compiled(stochastic('fp8-block')));
    expect(block.map(({ attributes }) => attributes.block)).toEqual([
      [1, 128],
      [1, 128],
    ]);
    expect(new Set(block.map(({ attributes }) => attributes.stream)).size).toBe(2);
    for (const recipe of ['fp8-tensor', 'fp8-delayed'])
      expect(casts(await compiled(stochastic(recipe)))).toHaveLength(1);
    expect(casts(await compiled('fp8-block'))).toEqual([]);
  });

  it('depends on the seed, which every call moves on, and changes nothing of the forward pass', async () => {
    const module = await compiled(stochastic('fp8-block'));
    const [a, again, b] = [await run(module, 3), await run(module, 3), await run(module, 4)];
    expect([...a.states.rounding_seed!.data]).toEqual([4]);
    for (const output of ['x', name].map(gradientOutput)) {
      expect(firstDifference(a.outputs[output]!, again.outputs[output]!)).toBeUndefined();
      expect(firstDifference(a.outputs[output]!, b.outputs[output]!)).toMatch(/./);
    }
    expect(firstDifference(a.outputs.loss!, b.outputs.loss!)).toBeUndefined();
  });

  it('is right on average: many seeds come nearer to the exact gradient than rounding to nearest', async () => {
    // Against the products of f32 gradients with the quantized weight: nothing but dy is rounded.
    const module = await compiled(stochastic('fp8-block', { wgrad: 'f32' }));
    const nearest = await compiled('fp8-block');
    const sums = new Float64Array(tokens * depth);
    const seeds = 300;
    for (let seed = 0; seed < seeds; seed++) {
      const { outputs: found } = await run(module, seed);
      for (const [i, x] of found[gradientOutput('x')]!.data.entries()) sums[i]! += x / seeds;
    }
    const weight = await dequantized(module);
    const once = (await runModule(nearest, 'loss', inputs)).outputs[gradientOutput('x')]!.data;
    const error = (found: ArrayLike<number>) => {
      let total = 0;
      for (let token = 0; token < tokens; token++) {
        for (let k = 0; k < depth; k++) {
          let exact = 0;
          for (let out = 0; out < outputs; out++) {
            exact += inputs.c.data[token * outputs + out]! * weight[out * depth + k]!;
          }
          total += (found[token * depth + k]! - exact) ** 2;
        }
      }
      return Math.sqrt(total);
    };
    // On average one stochastic rounding has twice the variance of one to nearest, and their mean 1/300 of that: √2, and room.
    expect(error(sums)).toBeLessThan((3 * error(once)) / Math.sqrt(seeds));
  });

  /** What the codes of the weight stand for: the products of f32 gradients with them are exact enough to compare with. */
  async function dequantized(module: Module): Promise<Float32Array> {
    const identity = floatTensor(
      [outputs, outputs],
      Float32Array.from({ length: outputs ** 2 }, (_, i) => (i % (outputs + 1) === 0 ? 1 : 0)),
    );
    const x = floatTensor([outputs, depth], new Float32Array(outputs * depth));
    const { outputs: found } = await runModule(
      module,
      'loss',
      { x, c: identity },
      { rounding_seed: intTensor([1], [0]) },
    );
    return found[gradientOutput('x')]!.data as Float32Array;
  }

  it('has its seed among the states that a run keeps', async () => {
    const module = await compiled(stochastic('fp8-delayed'));
    expect(
      recipeStates(module)
        .map((state) => state.name)
        .sort(),
    ).toEqual([
      'layer.grad_output_amax_history',
      'layer.grad_output_amax_running',
      'layer.input_amax_history',
      'layer.input_amax_running',
      'rounding_seed',
    ]);
    expect(recipeStates(await compiled('fp8-block'))).toEqual([]);
  });

  it('is for gradients only, and named in reports', async () => {
    const linear = builtInRecipes.get('fp8-block')!.train.linear as QuantizedLinear;
    const rounded = (spec: Quantization): Quantization => ({ ...spec, rounding: 'stochastic' });
    const wrong: [Partial<QuantizedLinear>, RegExp][] = [
      [{ input: rounded(linear.input) }, /train\.linear\.input\.rounding is stochastic/],
      [{ weight: rounded(linear.weight) }, /train\.linear\.weight\.rounding is stochastic/],
      [{ wgrad: { input: rounded(linear.input) } }, /train\.linear\.wgrad\.input\.rounding is stochastic/],
      [
        { grad_output: { ...linear.grad_output, rounding: 'up' as 'nearest' } },
        /grad_output\.rounding: expected one of nearest, stochastic/,
      ],
    ];
    for (const [change, message] of wrong) {
      await expect(compiled(stochastic('fp8-block', change))).rejects.toMatchObject({
        code: 'recipe-invalid',
        message: expect.stringMatching(message),
      });
    }
    const weight = f32Parameter(name, [outputs, depth], randomNumbers(outputs * depth, 3));
    const { report } = await compile(linearGradientModule(weight), { recipe: stochastic('fp8-delayed') });
    expect(report.linears.map(({ precision, input_scale }) => [precision, input_scale])).toEqual([
      ['f8e4m3fn[delayed] x f8e4m3fn[tensor]', 'delayed'],
      ['f8e5m2[delayed, stochastic] x f8e4m3fn[tensor]', 'delayed'],
      ['f8e5m2[delayed, stochastic] x f8e4m3fn[delayed]', 'delayed'],
    ]);
  });
});
