import { type ByteSource, readAligned } from '../byte-source.ts';
import type { Checkpoint, CheckpointTensor } from '../checkpoint.ts';
import { tensorDTypeBytes } from '../tensor-dtype.ts';
import { readSafetensorsHeader } from './header.ts';

/**
 * A safetensors file as a checkpoint; tensors are read by range. Closing the checkpoint closes `source`.
 * @throws QuaverError as `readSafetensorsHeader`
 */
export async function openSafetensors(source: ByteSource, signal?: AbortSignal): Promise<Checkpoint> {
  const { entries, metadata } = await readSafetensorsHeader(source, signal);
  const tensors = new Map<string, CheckpointTensor>();
  for (const { name, dtype, shape, storage, offset, bytes } of entries) {
    const read = (signal?: AbortSignal) => readAligned(source, offset, bytes, tensorDTypeBytes[dtype], signal);
    tensors.set(name, { name, dtype, shape, storage, read });
  }
  return { format: 'safetensors', source: source.name, tensors, metadata, close: () => source.close() };
}
