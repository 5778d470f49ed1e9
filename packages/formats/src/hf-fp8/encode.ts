import { QuaverError } from '@quaver/numerics';
import type { TensorToWrite } from '../checkpoint.ts';
import type { JsonObject } from '../json.ts';
import { formatShape } from '../tensor-dtype.ts';
import { scaleShapeOf, scaleSuffix } from './pair.ts';
import { type BlockShape, defaultBlockShape, fp8QuantizationConfig } from './quantization-config.ts';

/** A weight `[N, K]` as E4M3 codes and one f32 multiplier per block: `value ≈ code · scale`. */
export interface Fp8WeightToWrite {
  readonly name: string;
  readonly shape: readonly [number, number];
  readCodes(signal?: AbortSignal): Promise<Uint8Array> | Uint8Array;
  /** Row-major, `[ceil(N / block rows), ceil(K / block columns)]`. */
  readScale(signal?: AbortSignal): Promise<Float32Array> | Float32Array;
}

/** A model to be written in the Hugging Face FP8 block layout. */
export interface HfFp8Model {
  /** The model's `config.json`; its `quantization_config` is replaced. */
  readonly config: JsonObject;
  readonly weights: Iterable<Fp8WeightToWrite>;
  /** Everything else: embeddings, norms, biases, weights that stay in high precision. */
  readonly tensors: Iterable<TensorToWrite>;
  /** Default `[128, 128]`, the only one that vLLM's fast kernels take. */
  readonly blockShape?: BlockShape;
}

/**
 * The tensors and the `config.json` of the layout: `NAME` (F8_E4M3) and `NAME_scale_inv` (F32) per weight, and a
 * `quantization_config` that names the modules left alone.
 * @throws QuaverError `hf-fp8-bad-weight` for a weight whose name does not end in `.weight`
 */
export function layOutHfFp8(model: HfFp8Model): { readonly config: JsonObject; readonly tensors: TensorToWrite[] } {
  const block = model.blockShape ?? defaultBlockShape;
  const tensors: TensorToWrite[] = [];
  for (const weight of model.weights) {
    const { name, shape } = weight;
    if (!name.endsWith('.weight')) {
      throw new QuaverError('hf-fp8-bad-weight', `tensor "${name}": an FP8 weight's name must end in ".weight"`, {
        where: { tensor: name },
      });
    }
    const scaleShape = scaleShapeOf(shape, block);
    tensors.push({ name, shape, dtype: 'f8e4m3fn', read: (signal) => weight.readCodes(signal) });
    tensors.push({
      name: name + scaleSuffix,
      shape: scaleShape,
      dtype: 'f32',
      read: async (signal) => checkedScale(name, await weight.readScale(signal), scaleShape),
    });
  }
  const kept: string[] = [];
  for (const tensor of model.tensors) {
    tensors.push(tensor);
    if (tensor.shape.length === 2 && tensor.name.endsWith('.weight'))
      kept.push(tensor.name.slice(0, -'.weight'.length));
  }
  return { config: { ...model.config, quantization_config: fp8QuantizationConfig(block, kept.sort()) }, tensors };
}

function checkedScale(name: string, scale: Float32Array, shape: readonly [number, number]): Uint8Array {
  if (scale.length === shape[0] * shape[1]) return new Uint8Array(scale.buffer, scale.byteOffset, scale.byteLength);
  const expected = `expected ${formatShape(shape)}`;
  throw new QuaverError('hf-fp8-bad-weight', `tensor "${name}" came with ${scale.length} scales, ${expected}`, {
    where: { tensor: name },
  });
}
