import { QuaverError } from '@quaver/numerics';
import { type ByteSource, readAligned } from '../byte-source.ts';
import type { Checkpoint, CheckpointTensor } from '../checkpoint.ts';
import { type GgufTensorInfo, readGgufHeader } from './header.ts';

/**
 * A GGUF file as a checkpoint: tensor names as in the file (`blk.0.attn_q.weight`), shapes outermost dimension first,
 * quantized types dequantized to f32 on reading. Closing the checkpoint closes `source`.
 * @throws QuaverError as `readGgufHeader`
 */
export async function openGguf(source: ByteSource, signal?: AbortSignal): Promise<Checkpoint> {
  const { metadata, tensors } = await readGgufHeader(source, signal);
  return {
    format: 'gguf',
    source: source.name,
    tensors: new Map(tensors.map((info) => [info.name, ggufTensor(source, info)])),
    metadata,
    close: () => source.close(),
  };
}

function ggufTensor(source: ByteSource, info: GgufTensorInfo): CheckpointTensor {
  const { name, shape, storage, elements, offset, bytes } = info;
  return {
    name,
    shape,
    dtype: storage.dtype,
    storage: storage.name,
    async read(signal) {
      if (storage.dequantize === undefined) return readAligned(source, offset, bytes, storage.blockBytes, signal);
      const stored = await source.read(offset, bytes, signal);
      const values = allocateFloats(source.name, info);
      storage.dequantize(stored, values, elements / storage.blockElements);
      return new Uint8Array(values.buffer);
    },
  };
}

function allocateFloats(file: string, { name, elements }: GgufTensorInfo): Float32Array<ArrayBuffer> {
  try {
    return new Float32Array(elements);
  } catch (cause) {
    throw new QuaverError(
      'out-of-memory',
      `${file}: no room for the ${elements * 4} bytes of tensor "${name}" as f32`,
      {
        where: { file, tensor: name },
        cause,
      },
    );
  }
}
