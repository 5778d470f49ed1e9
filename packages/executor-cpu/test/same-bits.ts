/** @file Runs one small graph on the CPU executor and on the reference executor, and compares every output byte. */
import { type ExecutorOptions, type ExecutorPlugin, referencePlugin, Session } from '@quaver/executor';
import {
  allocateHostArray,
  concreteElementCount,
  type DType,
  GraphBuilder,
  type HostTensor,
  type Module,
  memoryData,
  type Parameter,
  type Value,
  verifyModule,
} from '@quaver/ir';
import { floatFormats } from '@quaver/numerics';
import { expect } from 'vitest';
import { cpuPlugin } from '../src/index.ts';

/** Mulberry32: tests name a seed, so that a failure can be run again. */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Values over many magnitudes, zeros and tiny ones included; FP8 codes are any but NaN. */
export function randomTensor(random: () => number, dtype: DType, shape: readonly number[], bound = 0): HostTensor {
  const type = { dtype, shape };
  const data = allocateHostArray(dtype, concreteElementCount(type));
  for (let i = 0; i < data.length; i++) {
    if (dtype === 'i32') data[i] = Math.floor(random() * bound);
    else if (dtype === 'f8e8m0fnu') data[i] = 110 + Math.floor(random() * 20);
    else if (dtype === 'f8e4m3fn') data[i] = Math.floor(random() * 127) + (random() < 0.5 ? 128 : 0);
    else if (dtype === 'f8e5m2') data[i] = Math.floor(random() * 124) + (random() < 0.5 ? 128 : 0);
    else {
      const value = (random() - 0.5) * 2 ** Math.floor(random() * 8 - 4) * (random() < 0.02 ? 2 ** -90 : 1);
      data[i] = dtype === 'f32' ? value : floatFormats[dtype as 'bf16'].encode(value);
    }
  }
  return { type, data };
}

/** Collects inputs and parameters while a test builds its graph. */
export class GraphCase {
  readonly g: GraphBuilder = new GraphBuilder('main');
  readonly inputs: Record<string, HostTensor> = {};
  readonly #parameters: Parameter[] = [];

  input(name: string, tensor: HostTensor): Value {
    this.inputs[name] = tensor;
    return this.g.input(name, tensor.type.dtype, tensor.type.shape);
  }

  parameter(name: string, { type, data }: HostTensor): Value {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const parameter = { name, type, data: memoryData(bytes), trainable: true };
    this.#parameters.push(parameter);
    return this.g.parameter(parameter);
  }

  module(): Module {
    const module: Module = {
      name: 'case',
      symbols: [],
      parameters: this.#parameters,
      states: [],
      functions: [this.g.finish()],
      metadata: {},
      attachments: new Map(),
    };
    verifyModule(module);
    return module;
  }
}

/** The engines of the CPU executor; native ones with threads that share the work. */
export const devices: readonly ExecutorOptions[] = [
  { device: 'native', threads: 3 },
  { device: 'wasm', threads: 1 },
];

async function runOn(
  plugin: ExecutorPlugin,
  options: ExecutorOptions,
  module: Module,
  inputs: Record<string, HostTensor>,
) {
  await using executor = await plugin.open(options);
  await using session = await Session.open(module, executor);
  // Twice, so that what is kept between calls (packed weights, bindings) is used too.
  await session.run('main', inputs);
  return { outputs: await session.run('main', inputs), assignments: await session.assignments('main') };
}

/**
 * Expects the same bytes from the reference executor and from the CPU executor on every device.
 * @param nativeOps ops that must have run on a kernel of the CPU executor
 */
export async function expectSameBits(graph: GraphCase, nativeOps: readonly string[]): Promise<void> {
  const module = graph.module();
  const reference = await runOn(referencePlugin(), {}, module, graph.inputs);
  for (const options of devices) {
    const cpu = await runOn(cpuPlugin, options, module, graph.inputs);
    for (const op of nativeOps) {
      const supports = cpu.assignments.filter((item) => item.op === op).map((item) => item.support);
      expect(supports.length, `${op} is in the graph`).toBeGreaterThan(0);
      for (const support of supports) expect(support, op).toEqual({ ok: true, native: true });
    }
    expect(Object.keys(cpu.outputs)).toEqual(Object.keys(reference.outputs));
    for (const [name, { type, data }] of Object.entries(reference.outputs)) {
      const found = cpu.outputs[name]!;
      expect(found.type).toEqual(type);
      expect(bytesOf(found.data), `${name}, ${options.device}`).toEqual(bytesOf(data));
    }
  }
}

function bytesOf(data: HostTensor['data']): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
