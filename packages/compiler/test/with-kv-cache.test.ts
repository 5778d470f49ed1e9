import {
  allocateHostArray,
  type HostTensor,
  interpretFunction,
  type Module,
  printFunction,
  viewHostArray,
} from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import { compile, type RecipeOptions, withKvCache, withOptions } from '../src/index.ts';
import { intTensor, shape, smallLlama } from './fixtures/small-llama.ts';

const tokens = [3, 17, 9, 0, 39];

async function compiled(recipe: string, options: RecipeOptions = {}): Promise<Module> {
  return (await compile(smallLlama(), { recipe: withOptions(recipe, options) })).module;
}

/** Every op with its types: what a function computes, whatever its values are called. */
function computation(module: Module): string[] {
  return module.functions.flatMap((fn) =>
    printFunction({ ...fn, plan: undefined })
      .split('\n')
      .map((line) => line.replaceAll(/%[A-Za-z0-9_.]+/g, '%').replaceAll(/!\w+\("[^"]*"\)/g, '')),
  );
}

async function logits(module: Module): Promise<Float32Array> {
  const fn = module.functions.find(({ name }) => name === 'prefill')!;
  const parameters = new Map<string, HostTensor>();
  for (const { name, type, data } of module.parameters) {
    const bytes = (await data!.read()).slice();
    parameters.set(name, { type, data: viewHostArray(type.dtype, bytes) });
  }
  const states = new Map<string, HostTensor>();
  for (const { name, type } of module.states) {
    const dims = type.shape.map((dim) => (dim === 'B' ? 1 : dim === 'C' ? tokens.length : Number(dim)));
    const count = dims.reduce((product, dim) => product * dim, 1);
    states.set(name, { type: { dtype: type.dtype, shape: dims }, data: allocateHostArray(type.dtype, count) });
  }
  const { outputs } = interpretFunction(fn, {
    inputs: { tokens: intTensor([1, tokens.length], tokens), position: intTensor([1], [0]) },
    parameters: (name) => parameters.get(name)!,
    states: (name) => states.get(name)!,
  });
  return outputs.logits!.data as Float32Array;
}

describe('withKvCache', () => {
  it.each([
    ['bf16', 'fp8'],
    ['fp8', 'bf16'],
  ] as const)('from %s to %s gives the graph that compiling with it gives', async (from, to) => {
    const changed = await withKvCache(await compiled('fp8-block', { kvCache: from }), to);
    const direct = await compiled('fp8-block', { kvCache: to });
    expect(computation(changed)).toEqual(computation(direct));
    expect(changed.states).toEqual(direct.states);
    expect(changed.parameters.map(({ name }) => name)).toEqual(direct.parameters.map(({ name }) => name));
  });

  it('gives the same bits as compiling with it, and others than before', async () => {
    const before = await compiled('fp8-block', { kvCache: 'bf16' });
    const changed = await logits(await withKvCache(before, 'fp8'));
    expect(changed).toEqual(await logits(await compiled('fp8-block', { kvCache: 'fp8' })));
    expect(changed).not.toEqual(await logits(before));
    expect(changed).toHaveLength(tokens.length * shape.vocabulary);
  });

  it('a round trip gives the bits of the start', async () => {
    const before = await compiled('bf16');
    const back = await withKvCache(await withKvCache(before, 'fp8'), 'bf16');
    expect(await logits(back)).toEqual(await logits(before));
    expect(back.states).toEqual(before.states);
  });

  it('takes FP8 attention to BF16 together with its cache', async () => {
    const changed = await withKvCache(await compiled('fp8-block', { attention: 'fp8' }), 'bf16');
    expect(computation(changed)).toEqual(
      computation(await compiled('fp8-block', { kvCache: 'bf16', attention: 'bf16' })),
    );
  });

  it('leaves a training phase of another precision alone', async () => {
    const changed = await withKvCache(await compiled('fp8-generate-only'), 'fp8');
    const training = changed.functions.find(({ name }) => name === 'logprobs')!;
    expect(printFunction(training)).not.toContain('f8e4m3fn');
    expect(changed.states.map(({ type }) => type.dtype)).toContain('f8e4m3fn');
  });

  it('is the module itself when nothing changes', async () => {
    const module = await compiled('fp8-block', { kvCache: 'fp8' });
    expect(await withKvCache(module, 'fp8')).toBe(module);
  });

  it('refuses a module that was not compiled, and an f32 cache under BF16 attention', async () => {
    await expect(withKvCache(smallLlama(), 'fp8')).rejects.toMatchObject({ code: 'module-not-lowered' });
    await expect(withKvCache(await compiled('bf16'), 'f32')).rejects.toMatchObject({ code: 'recipe-invalid' });
  });
});
