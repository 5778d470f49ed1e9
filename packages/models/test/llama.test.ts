import { readFileSync } from 'node:fs';
import { openCheckpoint } from '@quaver/formats/node';
import {
  bindType,
  byteCount,
  evaluateDim,
  findFunction,
  type HostTensor,
  interpretFunction,
  type Module,
  verifyModule,
  viewHostArray,
} from '@quaver/ir';
import type { QuaverError } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { importModel, llamaConfigFromHuggingFace, ropeTables } from '../src/index.ts';

const data = new URL('./data/tiny/', import.meta.url);
const names = ['llama2', 'llama2-linear', 'llama3', 'smollm2', 'qwen2', 'qwen3', 'mistral'];

interface Loaded {
  readonly module: Module;
  readonly tokens: readonly number[];
  /** float64 logits [tokens, vocabulary] of the independent implementation; see data/ORIGIN.md. */
  readonly golden: Float64Array;
  readonly vocabSize: number;
  readonly parameters: ReadonlyMap<string, HostTensor>;
}

async function load(name: string): Promise<Loaded> {
  const folder = new URL(`${name}/`, data).pathname;
  const checkpoint = await openCheckpoint(folder);
  const { module } = await importModel(checkpoint, checkpoint.assets);
  const parameters = new Map<string, HostTensor>();
  for (const { name: parameter, type, data: bytes } of module.parameters) {
    parameters.set(parameter, { type, data: viewHostArray(type.dtype, await bytes!.read()) });
  }
  await checkpoint.close();
  const file = readFileSync(`${folder}logits.f64`);
  const golden = new Float64Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
  const tokens = JSON.parse(readFileSync(`${folder}tokens.json`, 'utf8')) as number[];
  return { module, tokens, golden, vocabSize: golden.length / tokens.length, parameters };
}

const i32 = (shape: number[], values: readonly number[]): HostTensor => ({
  type: { dtype: 'i32', shape },
  data: Int32Array.from(values),
});

/** Runs a function on the reference interpreter; state is kept in `states` and starts as zeros. */
function call(
  model: Loaded,
  name: string,
  inputs: Record<string, HostTensor>,
  states: Map<string, HostTensor>,
  symbols: Record<string, number>,
): Record<string, HostTensor> {
  const { module, parameters } = model;
  const results = interpretFunction(findFunction(module, name)!, {
    inputs,
    parameters: (parameter) => parameters.get(parameter)!,
    states: (state) => {
      const { type } = module.states.find((item) => item.name === state)!;
      const bytes = new Uint8Array(evaluateDim(byteCount(type), symbols));
      return states.get(state) ?? { type: bindType(type, symbols), data: viewHostArray(type.dtype, bytes) };
    },
  });
  for (const [state, tensor] of Object.entries(results.states)) states.set(state, tensor);
  return results.outputs;
}

function bits(values: ArrayLike<number>): Uint32Array {
  return new Uint32Array(Float32Array.from(values).buffer);
}

describe.each(names)('%s', (name) => {
  test('is a valid module whose f32 logits agree with float64', async () => {
    const model = await load(name);
    verifyModule(model.module);
    const { tokens, golden, vocabSize } = model;
    let worst = 0;
    tokens.forEach((_, last) => {
      const inputs = {
        tokens: i32([1, last + 1], tokens.slice(0, last + 1)),
        position: i32([1], [0]),
        last: i32([1], [last]),
      };
      const { logits } = call(model, 'prefill', inputs, new Map(), { B: 1, T: last + 1, C: tokens.length });
      const expected = golden.subarray(last * vocabSize, (last + 1) * vocabSize);
      const found = logits!.data as Float32Array;
      found.forEach((value, i) => {
        worst = Math.max(worst, Math.abs(value - expected[i]!));
      });
      expect(found.indexOf(Math.max(...found))).toBe(expected.indexOf(Math.max(...expected)));
    });
    expect(worst).toBeLessThan(2e-5);
  });

  test('decode, prefill, score and logprobs give the same bits', async () => {
    const model = await load(name);
    const { tokens } = model;
    const steps = tokens.length - 1;
    const symbols = { B: 1, C: steps };
    const cache = new Map<string, HostTensor>();
    const decoded = tokens.slice(0, steps).map((token, at) => {
      const outputs = call(model, 'decode', { tokens: i32([1, 1], [token]), position: i32([1], [at]) }, cache, symbols);
      return outputs.logprobs!.data[tokens[at + 1]!]!;
    });
    const whole = { tokens: i32([1, steps], tokens.slice(0, steps)), targets: i32([1, steps], tokens.slice(1)) };
    const trained = call(model, 'logprobs', whole, new Map(), { ...symbols, T: steps }).logprobs!.data;
    expect(bits(decoded)).toEqual(bits(trained));
    const scored = call(model, 'score', { ...whole, position: i32([1], [0]) }, new Map(), { ...symbols, T: steps });
    expect(bits(scored.logprobs!.data)).toEqual(bits(trained));
    const chunked = new Map<string, HostTensor>();
    const pieces = [0, 5, 6, 13].map((from, i, starts) => {
      const end = starts[i + 1] ?? steps;
      const inputs = {
        tokens: i32([1, end - from], tokens.slice(from, end)),
        position: i32([1], [from]),
        last: i32([1], [end - from - 1]),
      };
      const outputs = call(model, 'prefill', inputs, chunked, { ...symbols, T: end - from });
      return [outputs.logprobs!.data[tokens[end]!]!, trained[end - 1]!] as const;
    });
    expect(bits(pieces.map(([found]) => found))).toEqual(bits(pieces.map(([, expected]) => expected)));
  });
});

describe('bad checkpoints', () => {
  const config = JSON.parse(readFileSync(new URL('smollm2/config.json', data), 'utf8')) as Record<string, unknown>;
  const code = (run: () => unknown) => {
    try {
      run();
    } catch (error) {
      return (error as QuaverError).code;
    }
    return 'no error';
  };

  test.each([
    [
      'an unknown architecture',
      { architectures: ['MambaForCausalLM'], model_type: 'mamba' },
      'model-architecture-unsupported',
    ],
    ['a forged layer count', { num_hidden_layers: 1e9 }, 'model-config-invalid'],
    ['a negative size', { hidden_size: -4 }, 'model-config-invalid'],
    ['heads that do not divide', { num_key_value_heads: 2 }, 'model-config-invalid'],
    ['a missing size', { intermediate_size: undefined }, 'model-config-invalid'],
    ['another activation', { hidden_act: 'gelu' }, 'model-config-invalid'],
    ['an unknown RoPE scaling', { rope_scaling: { rope_type: 'yarn', factor: 4 } }, 'model-rope-scaling-unsupported'],
  ])('%s is refused', (_, change, expected) => {
    expect(code(() => llamaConfigFromHuggingFace({ ...config, ...change }, 'config.json'))).toBe(expected);
  });

  test.each([
    [
      'a missing tensor',
      (tensors: Map<string, unknown>) => tensors.delete('model.layers.1.mlp.up_proj.weight'),
      'model-tensor-missing',
    ],
    [
      'a tensor of the wrong shape',
      (tensors: Map<string, unknown>) =>
        tensors.set('model.norm.weight', { ...(tensors.get('model.norm.weight') as object), shape: [3] }),
      'model-tensor-shape',
    ],
    [
      'integers where weights are expected',
      (tensors: Map<string, unknown>) =>
        tensors.set('model.norm.weight', { ...(tensors.get('model.norm.weight') as object), dtype: 'i64' }),
      'model-tensor-dtype',
    ],
  ])('%s is named', async (_, change, expected) => {
    const checkpoint = await openCheckpoint(new URL('smollm2/', data).pathname);
    const tensors = new Map(checkpoint.tensors);
    change(tensors);
    await expect(importModel({ ...checkpoint, tensors }, checkpoint.assets)).rejects.toMatchObject({ code: expected });
    await checkpoint.close();
  });
});

test('Llama 3 scaling leaves short wavelengths alone and divides long ones by the factor', () => {
  const config = llamaConfigFromHuggingFace(
    {
      ...(JSON.parse(readFileSync(new URL('llama3/config.json', data), 'utf8')) as object),
      head_dim: 64,
      rope_theta: 500000,
      rope_parameters: undefined,
      rope_scaling: {
        rope_type: 'llama3',
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 8192,
      },
    },
    'config.json',
  );
  const angle = (i: number) => Math.atan2(ropeTables(config, 2).sin[32 + i]!, ropeTables(config, 2).cos[32 + i]!);
  expect(angle(0)).toBeCloseTo(1, 6);
  expect(angle(31)).toBeCloseTo(500000 ** (-62 / 64) / 8, 12);
});
