import { bytesSource, openSafetensors } from '@quaver/formats';
import { formatType, type HostTensor, viewHostArray } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { ReadVectorFile, TensorReference } from './manifest.ts';

/** Gives the tensors that a manifest's cases refer to. */
export type LoadTensor = (reference: TensorReference) => Promise<HostTensor>;

/** @throws QuaverError what `read` and the safetensors reader throw; the result: `vectors-tensor` */
export async function openTensors(read: ReadVectorFile, file: string, signal?: AbortSignal): Promise<LoadTensor> {
  const { tensors } = await openSafetensors(bytesSource(file, await read(file, signal)), signal);
  return async ({ tensor: name, dtype, shape }) => {
    const stored = tensors.get(name);
    const wanted = formatType({ dtype, shape });
    const found = stored && `${stored.dtype}[${stored.shape.join(',')}]`;
    if (!stored || found !== wanted) {
      throw new QuaverError(
        'vectors-tensor',
        `${file}: tensor "${name}" is ${found ?? 'not there'}, expected ${wanted}`,
        {
          where: { file, tensor: name },
        },
      );
    }
    return { type: { dtype, shape }, data: viewHostArray(dtype, await stored.read()) };
  };
}
