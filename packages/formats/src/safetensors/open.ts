import type { ByteSource } from '../byte-source.ts';
import type { Checkpoint, CheckpointTensor } from '../checkpoint.ts';
import { readSafetensorsHeader } from './header.ts';

/**
 * A safetensors file as a checkpoint; tensors are read by range. Closing the checkpoint closes `source`.
 * @throws QuaverError as `readSafetensorsHeader`
 */
export async function openSafetensors(source: ByteSource, signal?: AbortSignal): Promise<Checkpoint> {
  const { entries, metadata } = await readSafetensorsHeader(source, signal);
  const tensors = new Map<string, CheckpointTensor>();
  for (const { name, dtype, shape, storage, offset, bytes } of entries) {
    tensors.set(name, { name, dtype, shape, storage, read: (signal) => source.read(offset, bytes, signal) });
  }
  return { format: 'safetensors', source: source.name, tensors, metadata, close: () => source.close() };
}
