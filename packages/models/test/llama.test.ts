import { readFileSync } from 'node:fs';
import type { Fp8Storage } from '@quaver/formats';
import { type OpenedCheckpoint, openCheckpoint } from '@quaver/formats/node';
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
import { f8e4m3fn, type QuaverError } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { importModel, llamaConfigFromGguf, llamaConfigFromHuggingFace, ropeTables } from '../src/index.ts';

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

async function load(name: string, opened?: OpenedCheckpoint): Promise<Loaded> {
  const folder = new URL(`${name}/`, data).pathname;
  const checkpoint = opened ?? (await openCheckpoint(folder));
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
  const gguf = {
    'general.architecture': 'llama',
    'llama.attention.head_count': 3,
    'llama.attention.layer_norm_rms_epsilon': 1e-5,
    'llama.block_count': 2,
    'llama.context_length': 128,
    'llama.embedding_length': 48,
    'llama.feed_forward_length': 72,
    'llama.vocab_size': 97,
  };
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
    ['half a head rotated', { partial_rotary_factor: 0.5 }, 'model-config-invalid'],
    [
      'half a head rotated, in rope_parameters',
      { rope_parameters: { rope_type: 'default', rope_theta: 1e5, partial_rotary_factor: 0.5 } },
      'model-config-invalid',
    ],
    ['an unknown RoPE scaling', { rope_scaling: { rope_type: 'yarn', factor: 4 } }, 'model-rope-scaling-unsupported'],
  ])('%s is refused', (_, change, expected) => {
    expect(code(() => llamaConfigFromHuggingFace({ ...config, ...change }, 'config.json'))).toBe(expected);
  });

  test('a rotated part of a head is named; all of it is fine', () => {
    const read = (factor: unknown) =>
      llamaConfigFromHuggingFace({ ...config, partial_rotary_factor: factor }, 'config.json');
    expect(() => read(0.25)).toThrow('config.json: partial_rotary_factor is 0.25, expected 1');
    for (const whole of [1, null, undefined]) expect(read(whole)).toEqual(read(1));
  });

  test.each([
    ['rope.dimension_count', 8],
    ['attention.value_length', 32],
  ])('GGUF with another %s than the head dimension is refused', (name, other) => {
    const read = (value: number | undefined, change: object = {}) =>
      llamaConfigFromGguf({ ...gguf, ...change, [`llama.${name}`]: value }, () => false, 'm.gguf');
    expect(() => read(other)).toThrow(`m.gguf: llama.${name} is ${other}, expected 16`);
    expect(code(() => read(other))).toBe('model-config-invalid');
    expect([read(16).headDim, read(undefined).headDim]).toEqual([16, 16]);
    expect(read(other, { 'llama.attention.key_length': other }).headDim).toBe(other);
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

describe('an FP8 embedding table', () => {
  const fp8Name = 'model.embed_tokens.weight';

  /** The smollm2 model, its (tied) table as E4M3 codes with one scale; `restored` has the values themselves instead. */
  async function loadScaled(scale: number, restored: boolean): Promise<Loaded> {
    const checkpoint = await openCheckpoint(new URL('smollm2/', data).pathname);
    const table = checkpoint.tensors.get(fp8Name)!;
    const [rows, columns] = table.shape as [number, number];
    const codes = Uint8Array.from({ length: rows * columns }, (_, i) => ((i * 37) % 64) + 8 + (i % 3 === 0 ? 128 : 0));
    const values = Float32Array.from(codes, (code) => f8e4m3fn.decode(code) * scale);
    const read = () => Promise.resolve(new Uint8Array(values.buffer));
    const tensors = new Map(checkpoint.tensors).set(fp8Name, {
      ...table,
      ...{ dtype: 'f32', storage: 'F8_E4M3', read },
      ...(restored ? {} : { fp8: fp8Storage(codes, scale) }),
    });
    const loaded = await load('smollm2', { ...checkpoint, tensors });
    await checkpoint.close();
    return loaded;
  }

  const fp8Storage = (codes: Uint8Array, scale: number): Fp8Storage => ({
    dtype: 'f8e4m3fn',
    blockShape: [128, 128],
    scaleShape: [1, 1],
    readCodes: () => Promise.resolve(codes),
    readScale: () => Promise.resolve(Float32Array.of(scale)),
  });

  const logprobs = (model: Loaded) => {
    const whole = { tokens: i32([1, 4], [5, 17, 2, 96]), targets: i32([1, 4], [17, 2, 96, 1]) };
    return bits(call(model, 'logprobs', whole, new Map(), { B: 1, T: 4 }).logprobs!.data);
  };

  test.each([1, 4, 0.3])('scaled by %d gives the logprobs of its restored values', async (scale) => {
    const fp8 = await loadScaled(scale, false);
    expect(logprobs(fp8)).toEqual(logprobs(await loadScaled(scale, true)));
    expect(fp8.parameters.get(fp8Name)!.type.dtype).toBe('f32');
    expect(fp8.parameters.has(`${fp8Name}_scale_inv`)).toBe(false);
  });

  test('with another scale is another model', async () => {
    expect(logprobs(await loadScaled(1, false))).not.toEqual(logprobs(await loadScaled(4, false)));
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
