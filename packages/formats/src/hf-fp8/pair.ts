import { f8e4m3fn, floatFormats, QuaverError, bf16 as toBf16 } from '@quaver/numerics';
import type { Checkpoint, CheckpointTensor, Fp8Storage } from '../checkpoint.ts';
import { formatShape } from '../tensor-dtype.ts';
import type { BlockShape } from './quantization-config.ts';

/** What follows a weight's name in the name of its scales. */
export const scaleSuffix = '_scale_inv';

/**
 * Joins each FP8 weight of a safetensors checkpoint with its `weight_scale_inv`: the result has one tensor for both,
 * which reads as the restored values and keeps codes and scales under `fp8`. Other tensors pass through.
 * @param dequantizeTo what `read` gives for FP8 weights
 * @throws QuaverError `hf-fp8-missing-scale`, `hf-fp8-orphan-scale`, `hf-fp8-bad-scale`
 */
export function pairFp8Blocks(
  checkpoint: Checkpoint,
  blockShape: BlockShape,
  dequantizeTo: 'f32' | 'bf16',
): Checkpoint {
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, tensor] of checkpoint.tensors) {
    if (name.endsWith(scaleSuffix)) {
      const weight = name.slice(0, -scaleSuffix.length);
      if (checkpoint.tensors.get(weight)?.dtype === 'f8e4m3fn') continue;
      throw problem(checkpoint, 'hf-fp8-orphan-scale', name, `holds scales, but there is no FP8 tensor "${weight}"`);
    }
    if (tensor.dtype !== 'f8e4m3fn') {
      tensors.set(name, tensor);
      continue;
    }
    const scale = checkpoint.tensors.get(name + scaleSuffix);
    if (scale === undefined) {
      throw problem(checkpoint, 'hf-fp8-missing-scale', name, `is FP8, but there is no "${name}${scaleSuffix}"`);
    }
    tensors.set(name, pairedTensor(tensor, checkBlocks(checkpoint, tensor, scale, blockShape), dequantizeTo));
  }
  const { source, metadata } = checkpoint;
  return { format: 'hf-fp8', source, tensors, metadata, close: () => checkpoint.close() };
}

/** Scale shape of a weight `[N, K]`: `[ceil(N / rows), ceil(K / columns)]`. */
export function scaleShapeOf(shape: readonly [number, number], block: BlockShape): readonly [number, number] {
  return [Math.ceil(shape[0] / block[0]), Math.ceil(shape[1] / block[1])];
}

function checkBlocks(
  checkpoint: Checkpoint,
  weight: CheckpointTensor,
  scale: CheckpointTensor,
  blockShape: BlockShape,
): Fp8Storage {
  const [rows, columns, ...rest] = weight.shape;
  if (rows === undefined || columns === undefined || rest.length > 0) {
    const found = `has shape ${formatShape(weight.shape)}, block scales need two dimensions`;
    throw problem(checkpoint, 'hf-fp8-bad-scale', weight.name, found);
  }
  const scaleShape = scaleShapeOf([rows, columns], blockShape);
  const fits = scale.shape.length === 2 && scale.shape.every((size, i) => size === scaleShape[i]);
  if (!fits) {
    const expected = `expected ${formatShape(scaleShape)} for a weight ${formatShape(weight.shape)}`;
    const found = `has shape ${formatShape(scale.shape)}, ${expected} in blocks of ${formatShape(blockShape)}`;
    throw problem(checkpoint, 'hf-fp8-bad-scale', scale.name, found);
  }
  const { dtype } = scale;
  if (dtype !== 'f32' && dtype !== 'bf16' && dtype !== 'f16' && dtype !== 'f8e8m0fnu') {
    throw problem(
      checkpoint,
      'hf-fp8-bad-scale',
      scale.name,
      `has type ${scale.storage}, expected F32, BF16, F16 or F8_E8M0`,
    );
  }
  return {
    dtype: 'f8e4m3fn',
    blockShape,
    scaleShape,
    readCodes: (signal) => weight.read(signal),
    async readScale(signal) {
      const bytes = await scale.read(signal);
      const values = new Float32Array(scaleShape[0] * scaleShape[1]);
      if (dtype === 'f32') new Uint8Array(values.buffer).set(bytes);
      else if (dtype === 'f8e8m0fnu') floatFormats[dtype].decodeInto(bytes, values);
      else floatFormats[dtype].decodeInto(new Uint16Array(new Uint8Array(bytes).buffer), values);
      return values;
    },
  };
}

function pairedTensor(weight: CheckpointTensor, fp8: Fp8Storage, dtype: 'f32' | 'bf16'): CheckpointTensor {
  const { name, shape, storage } = weight;
  return {
    name,
    shape,
    storage,
    dtype,
    fp8,
    async read(signal) {
      const [codes, scale] = [await fp8.readCodes(signal), await fp8.readScale(signal)];
      const values = dequantizeFp8Blocks(codes, scale, [shape[0]!, shape[1]!], fp8.blockShape);
      if (dtype === 'f32') return new Uint8Array(values.buffer);
      const narrow = new Uint16Array(values.length);
      toBf16.encodeInto(values, narrow);
      return new Uint8Array(narrow.buffer);
    },
  };
}

/** `code · scale` of its block, rounded once to f32. `codes` is row-major `[N, K]`, `scale` row-major in blocks. */
export function dequantizeFp8Blocks(
  codes: Uint8Array,
  scale: Float32Array,
  shape: readonly [number, number],
  block: BlockShape,
): Float32Array<ArrayBuffer> {
  const [rows, columns] = shape;
  const [blockRows, blockColumns] = block;
  const scaleColumns = Math.ceil(columns / blockColumns);
  const values = new Float32Array(rows * columns);
  f8e4m3fn.decodeInto(codes, values);
  for (let row = 0; row < rows; row++) {
    const scaleRow = Math.floor(row / blockRows) * scaleColumns;
    for (let first = 0, j = 0; first < columns; first += blockColumns, j++) {
      const factor = scale[scaleRow + j]!;
      const end = row * columns + Math.min(first + blockColumns, columns);
      for (let i = row * columns + first; i < end; i++) values[i] = values[i]! * factor;
    }
  }
  return values;
}

function problem(checkpoint: Checkpoint, code: string, tensor: string, found: string): QuaverError {
  return new QuaverError(code, `${checkpoint.source}: tensor "${tensor}" ${found}`, {
    where: { file: checkpoint.source, tensor },
  });
}
