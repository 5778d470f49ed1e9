/**
 * @file A module as a checkpoint. Imported again, a compiled module becomes one that is not compiled, whose weights are what the
 * recipe made of them: FP8 codes with their scales, BF16 where it keeps that. Compiled with the same recipe it has the same bits, and
 * it can be trained.
 */
import { type Checkpoint, type CheckpointTensor, pairFp8Blocks } from '@quaver/formats';
import type { Module } from '@quaver/ir';
import type { ImportAssets } from '@quaver/models';
import { QuaverError } from '@quaver/numerics';
import { headName } from './hugging-face-parts.ts';

/** RoPE tables follow from the configuration. */
const madeAnew = /^model\.rope\./;

/**
 * The parameters under their names, FP8 weights joined with their scales, and the attachments as the files beside them.
 * @param source the file, as errors name it
 * @param close what closing the checkpoint closes
 * @throws QuaverError `hf-fp8-…` for FP8 weights whose scales are not those of 128×128 blocks, `module-no-data`
 */
export function moduleCheckpoint(
  module: Module,
  source: string,
  close: () => Promise<void>,
): { readonly checkpoint: Checkpoint; readonly assets: ImportAssets } {
  const stored = module.parameters.filter(({ name }) => !madeAnew.test(name));
  const tensors = new Map<string, CheckpointTensor>(
    stored.map(({ name, type: { dtype, shape }, data }) => {
      if (!data) {
        throw new QuaverError('module-no-data', `${source}: parameter '${name}' has no data`, {
          hint: 'The module is only a structure.',
          where: { file: source, tensor: name },
        });
      }
      return [name, { name, dtype, shape, storage: dtype, read: (signal) => data.read(signal) }];
    }),
  );
  const plain: Checkpoint = { format: 'safetensors', source, tensors, metadata: new Map(), close };
  return { checkpoint: pairFp8Blocks(plain, [128, 128], 'f32'), assets: attachedFiles(module) };
}

function attachedFiles({ attachments, parameters }: Module): ImportAssets {
  // A recipe can give the output projection a precision of its own: then the two are no longer one table.
  const separateHead = parameters.some(({ name }) => name === headName);
  return {
    names: [...attachments.keys()],
    async bytes(name) {
      const bytes = await attachments.get(name)?.read();
      return bytes && name === 'config.json' && separateHead ? untied(bytes) : bytes;
    },
  };
}

function untied(config: Uint8Array): Uint8Array {
  const parsed = JSON.parse(new TextDecoder().decode(config));
  return new TextEncoder().encode(JSON.stringify({ ...parsed, tie_word_embeddings: false }, undefined, 2));
}
