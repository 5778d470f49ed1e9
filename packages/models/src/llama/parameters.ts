/** @file Parameters of a Llama-family module, whatever their numbers come from. */
import { type DType, dtypeBytes, type Parameter, type TensorData } from '@quaver/ir';
import type { LlamaConfig } from './config.ts';
import { ropeCosName, ropeSinName } from './graph.ts';
import { ropeTables } from './rope.ts';

/** A parameter whose bytes are read when they are asked for. */
export function parameter(
  name: string,
  dtype: DType,
  shape: readonly number[],
  read: (signal?: AbortSignal) => Promise<Uint8Array>,
): Parameter {
  const byteLength = shape.reduce((product, dim) => product * dim, dtypeBytes[dtype]);
  const data: TensorData = { byteLength, read };
  return { name, type: { dtype, shape }, data, trainable: !name.endsWith('_scale_inv') };
}

/** RoPE tables are made once and shared by the two parameters; `factors`, where there are some, divide the frequencies. */
export function ropeParameters(
  config: LlamaConfig,
  context: number,
  factors?: () => Promise<Float32Array | undefined>,
): Parameter[] {
  const shape = [context, config.headDim / 2];
  let tables: Promise<ReturnType<typeof ropeTables>> | undefined;
  const make = () => {
    tables ??= (async () => ropeTables(config, context, await factors?.()))();
    return tables;
  };
  return [
    { ...parameter(ropeCosName, 'f32', shape, async () => asBytes((await make()).cos)), trainable: false },
    { ...parameter(ropeSinName, 'f32', shape, async () => asBytes((await make()).sin)), trainable: false },
  ];
}

export function asBytes(array: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
