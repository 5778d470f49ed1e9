/** @file What FP8 does to the tensors of a training step: names, counts, and that nothing is compiled or changed for it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { builtInRecipes, type Recipe, withOptions } from '@quaver/compiler';
import { Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { findFunction, type GraphFunction, type HostTensor, type Module } from '@quaver/ir';
import { computeScale, floatFormats } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { sgd } from '../src/index.ts';
import type { QuantizationRecord } from '../src/metrics/records.ts';
import { compileTraining } from '../src/trainer/compile-training.ts';
import { effectsOf } from '../src/trainer/quantization-records.ts';
import { evenWeights, tinyModel, tokenIds, unpacked } from './support/tiny-model.ts';
import { at, configOf, train, weightsOf } from './trainer/tiny-run.ts';

const [rows, columns] = [2, 9];

/** A function with x, codes and scale of every quantization of another as its outputs. */
function probeOf(fn: GraphFunction): {
  readonly probe: GraphFunction;
  readonly blocks: readonly (readonly number[])[];
} {
  const nodes = fn.nodes.filter(({ op }) => ['quantize', 'dynamic_quantize', 'stochastic_quantize'].includes(op));
  const outputs = nodes.flatMap(({ op, operands, results }, i) => {
    const scale = op === 'dynamic_quantize' ? results[1]! : operands[1]!;
    return [operands[0]!, results[0]!, scale].map((value, part) => ({ name: `${i}.${part}`, value }));
  });
  const probe: GraphFunction = { ...fn, name: 'probe', outputs, updates: [], plan: undefined };
  return { probe, blocks: nodes.map(({ attributes }) => attributes.block as readonly number[]) };
}

interface Counts {
  readonly amax: number;
  readonly saturated: number;
  readonly underflow: number;
}

/** Shares by a loop over the elements, with the index of each one's block from its coordinates. */
function countOn(x: HostTensor, codes: HostTensor, scale: HostTensor, block: readonly number[]): Counts {
  const { shape } = x.type;
  const format = floatFormats[codes.type.dtype as 'f8e4m3fn'];
  const scales =
    scale.type.dtype === 'f32' ? scale.data : Array.from(scale.data, (code) => floatFormats.f8e8m0fnu.decode(code));
  let [amax, saturated, underflow] = [0, 0, 0];
  for (let i = 0; i < x.data.length; i++) {
    let [rest, index, stride] = [i, 0, 1];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const coordinate = rest % shape[axis]!;
      rest = Math.floor(rest / shape[axis]!);
      index += stride * (block[axis] === 0 ? 0 : Math.floor(coordinate / block[axis]!));
      stride *= block[axis] === 0 ? 1 : Math.ceil(shape[axis]! / block[axis]!);
    }
    const value = x.data[i]!;
    amax = Math.max(amax, Math.abs(value));
    if (Math.fround(Math.abs(value) / scales[index]!) > format.maxRoundable) saturated++;
    if (value !== 0 && Math.fround(format.decode(codes.data[i]!) * scales[index]!) === 0) underflow++;
  }
  return { amax, saturated: saturated / x.data.length, underflow: underflow / x.data.length };
}

async function compare(recipe: string | Recipe, prepare?: (module: Module) => Record<string, number>) {
  const compiled = await compileTraining(await tinyModel('llama3'), {
    recipe,
    optimizer: () => sgd(),
    measureQuantization: true,
  });
  const measure = compiled.measures.find(({ functionName }) => functionName === 'measure_backward')!;
  const { probe, blocks } = probeOf(findFunction(compiled.module, 'backward')!);
  expect(measure.tensors).toHaveLength(blocks.length);
  const module = { ...compiled.module, functions: [...compiled.module.functions, probe] };
  await using executor = await cpuPlugin.open({ threads: 2 });
  const { functions, computed } = compiled;
  await using session = await Session.open(module, executor, { functions: [...functions, 'probe'], computed });
  await session.run('quantize_weights');
  const state = session.createState({}, ['backward']);
  for (const [name, value] of Object.entries(prepare?.(module) ?? {})) {
    const length = module.states.find((item) => item.name === name)!.type.shape[0] as number;
    await session.writeState(state, name, new Uint8Array(new Float32Array(length).fill(value).buffer));
  }
  const inputs = {
    tokens: tokenIds(3, rows, columns),
    targets: tokenIds(4, rows, columns),
    weights: evenWeights(rows, columns, 1 / (rows * columns)),
    ...unpacked(rows, columns),
  };
  const before = await session.readState(state, 'gradient.model.norm.weight');
  const { quantization } = await session.run('measure_backward', inputs, { state });
  expect(await session.readState(state, 'gradient.model.norm.weight')).toEqual(before);
  const found = await session.run('probe', inputs, { state });
  const effects = effectsOf(measure, quantization!.data, { B: rows, T: columns });
  for (const [i, { tensor, ...effect }] of effects.entries()) {
    const [x, codes, scale] = [0, 1, 2].map((part) => found[`${i}.${part}`]!) as [HostTensor, HostTensor, HostTensor];
    expect(effect, tensor).toEqual(countOn(x, codes, scale, blocks[i]!));
  }
  return effects;
}

describe('counts are those of a loop over the tensors', () => {
  const stochastic = (name: string): Recipe => {
    const text = JSON.stringify(builtInRecipes.get(name)!);
    const changed = text.replaceAll('"format":"f8e5m2"', '"format":"f8e5m2","rounding":"stochastic"');
    expect(changed).not.toBe(text);
    return JSON.parse(changed);
  };

  test.each(['fp8-block', 'fp8-block-f32', 'fp8-tensor', 'mxfp8'])('%s', async (recipe) => {
    const effects = await compare(recipe);
    // Scales by the current amax leave nothing out of reach; small numbers beside large ones go where blocks are large and E4M3.
    expect(effects.every(({ saturated, amax }) => saturated === 0 && amax > 0)).toBe(true);
    if (recipe.startsWith('fp8-block')) expect(effects.some(({ underflow }) => underflow > 0)).toBe(true);
  });

  test('with keys and values in FP8', async () => {
    const effects = await compare(withOptions('fp8-block', { kvCache: 'fp8' }));
    const names = effects.map(({ tensor }) => tensor);
    expect(names).toEqual(expect.arrayContaining(['model.layers.0.self_attn.k', 'model.layers.0.self_attn.v']));
  });

  test('scales of a history that is too small saturate, of one that is too large let numbers vanish', async () => {
    const histories = (value: number) => (module: Module) =>
      Object.fromEntries(
        module.states.flatMap(({ name }) => (name.endsWith('_amax_history') ? [[name, value] as const] : [])),
      );
    const small = await compare('fp8-delayed', histories(1e-6));
    const large = await compare(stochastic('fp8-delayed'), histories(1e6));
    expect(small.some(({ saturated }) => saturated > 0.9)).toBe(true);
    expect(large.some(({ saturated, underflow }) => saturated === 0 && underflow > 0.9)).toBe(true);
  });
});

const layer = 'model.layers.0';
const linears = ['self_attn.q_proj', 'self_attn.o_proj', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'];

function recordsOf(name: string): QuantizationRecord[] {
  const text = readFileSync(path.join(at(name), 'quantization.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

test('a run records weights, inputs and gradients every so many steps, and trains as it would without', async () => {
  const result = await train('recorded', configOf({ recipe: 'fp8-block', quantization_every: 2, remat: 'layers' }));
  const records = recordsOf('recorded');
  expect([...new Set(records.map(({ step }) => step))]).toEqual([2, 4]);
  const names = records.filter(({ step }) => step === 4).map(({ tensor }) => tensor);
  expect(new Set(names).size).toBe(names.length);
  for (const linear of linears) {
    const own = names
      .filter((name) => name.startsWith(`${layer}.${linear}.`))
      .map((name) => name.slice(layer.length + linear.length + 2));
    expect(own, linear).toEqual(expect.arrayContaining(['weight', 'grad_output (dgrad)', 'grad_output (wgrad)']));
  }
  // Gate and up read one input; it has the name of the first, and the backward pass begins with the last.
  expect(names).toContain(`${layer}.mlp.gate_proj.input`);
  expect(names).not.toContain(`${layer}.mlp.up_proj.input`);
  expect(names).toContain(`${layer}.mlp.up_proj.input (wgrad)`);
  expect(names).not.toContain(`${layer}.mlp.gate_proj.input (wgrad)`);
  const never = await train('never', configOf({ recipe: 'fp8-block', quantization_every: 0, remat: 'layers' }));
  expect(never.parameters_sha256).toBe(result.parameters_sha256);
  expect(recordsOf('never')).toEqual([]);

  // The masters of the checkpoint are the weights that were measured: amax and codes by the formulas of the recipe.
  const masters = await weightsOf('recorded', 4);
  for (const linear of linears) {
    const name = `${layer}.${linear}.weight`;
    const record = records.find(({ step, tensor }) => step === 4 && tensor === name)!;
    const values = masters.get(name)!;
    // At most 128 rows and columns: one block.
    const amax = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = computeScale(amax, { max: 448, rounding: 'pow2_up' });
    const { f8e4m3fn } = floatFormats;
    const gone = values.filter((value) => value !== 0 && f8e4m3fn.decode(f8e4m3fn.encode(value / scale)) === 0).length;
    expect(record).toEqual({ step: 4, tensor: name, saturated: 0, underflow: gone / values.length, amax });
  }
});

test('nothing is compiled for it when it is off, or where nothing is quantized', async () => {
  const model = await tinyModel('llama3');
  const optimizer = () => sgd();
  const off = await compileTraining(model, { recipe: 'fp8-block', optimizer });
  expect(off.functions.filter((name) => name.startsWith('measure'))).toEqual([]);
  expect(off.module.functions.filter(({ name }) => name.startsWith('measure'))).toEqual([]);
  const bf16 = await compileTraining(model, { recipe: 'bf16', optimizer, measureQuantization: true });
  expect(bf16.measures).toEqual([]);
  expect(bf16.module.functions.filter(({ name }) => name.startsWith('measure'))).toEqual([]);
});
