/** @file Gradients of whole models against JAX in float64; see data/ORIGIN.md. */
import { readFileSync } from 'node:fs';
import { differentiate, gradientOutput } from '@quaver/compiler';
import { openCheckpoint } from '@quaver/formats/node';
import { type HostTensor, interpretFunction, type Module, verifyModule, viewHostArray } from '@quaver/ir';
import { importModel } from '@quaver/models';
import { floatFormats } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import { lossFunction } from '../src/index.ts';
import { unpacked } from './support/tiny-model.ts';

const models = new URL('../../models/test/data/tiny/', import.meta.url);
const goldens = new URL('./data/', import.meta.url);
const names = ['llama2', 'llama2-linear', 'llama3', 'smollm2', 'qwen2', 'qwen3', 'mistral'];

interface Golden {
  readonly tokens: readonly (readonly number[])[];
  readonly targets: readonly (readonly number[])[];
  readonly mask: readonly (readonly number[])[];
  readonly loss: number;
}

const read = (name: string): Golden => JSON.parse(readFileSync(new URL(`${name}.json`, goldens), 'utf8'));

/** By parameter name. */
async function gradientsOf(name: string): Promise<Map<string, Float32Array>> {
  const checkpoint = await openCheckpoint(new URL(`${name}.safetensors`, goldens).pathname);
  const found = new Map<string, Float32Array>();
  for (const [parameter, tensor] of checkpoint.tensors) {
    found.set(parameter, viewHostArray('f32', await tensor.read()) as Float32Array);
  }
  await checkpoint.close();
  return found;
}

async function modelOf(name: string): Promise<{ module: Module; parameters: Map<string, HostTensor> }> {
  const checkpoint = await openCheckpoint(new URL(`${name}/`, models).pathname);
  const { module } = await importModel(checkpoint, checkpoint.assets);
  const parameters = new Map<string, HostTensor>();
  for (const { name: parameter, type, data: bytes } of module.parameters) {
    parameters.set(parameter, { type, data: viewHostArray(type.dtype, await bytes!.read()) });
  }
  await checkpoint.close();
  return { module, parameters };
}

/** The same tensor as real numbers: everything computed from it is then float64. */
function real({ type, data: codes }: HostTensor): HostTensor {
  if (type.dtype === 'f32') return { type, data: Float64Array.from(codes) };
  const values = new Float32Array(codes.length);
  floatFormats[type.dtype as 'bf16'].decodeInto(codes as Uint16Array, values);
  return { type, data: Float64Array.from(values) };
}

/** |a - b| / |b| of whole tensors. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [error, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    error += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return Math.sqrt(error / size);
}

describe.each(names)('%s', (name) => {
  test.each([
    // RoPE's tables are f32, and so are the goldens.
    ['float64', 5e-7],
    ['the canonical f32', 1e-5],
  ])('gradients in %s are those of JAX', async (precision, bound) => {
    const { tokens, targets, mask, loss } = read(name);
    const { module, parameters } = await modelOf(name);
    const golden = await gradientsOf(name);
    const fn = differentiate(lossFunction(module), { loss: 'loss', wrt: [...golden.keys()] });
    verifyModule({ ...module, functions: [fn] });
    const shape = [2, 20];
    const ids = (rows: readonly (readonly number[])[]): HostTensor => ({
      type: { dtype: 'i32', shape },
      data: Int32Array.from(rows.flat()),
    });
    const total = mask.flat().reduce((sum, x) => sum + x, 0);
    const share = mask.flat().map((x) => x / total);
    const weights: HostTensor = {
      type: { dtype: 'f32', shape },
      data: precision === 'float64' ? Float64Array.from(share) : Float32Array.from(share),
    };
    const { outputs } = interpretFunction(fn, {
      inputs: { tokens: ids(tokens), targets: ids(targets), weights, ...unpacked(2, 20) },
      parameters: (wanted) => (precision === 'float64' ? real : (x: HostTensor) => x)(parameters.get(wanted)!),
    });
    expect(Math.abs(outputs.loss!.data[0]! - loss) / loss).toBeLessThan(bound);
    expect(golden.size).toBe(module.parameters.filter(({ trainable }) => trainable).length);
    for (const [parameter, expected] of golden) {
      expect(distance(outputs[gradientOutput(parameter)]!.data, expected), parameter).toBeLessThan(bound);
    }
  });
});
