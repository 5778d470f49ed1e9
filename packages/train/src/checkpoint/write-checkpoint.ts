/** @file Writes one checkpoint so that it is either there as a whole or not at all. */
import { createHash, type Hash } from 'node:crypto';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type JsonValue, layOutSafetensors, safetensorsChunks, type TensorToWrite } from '@quaver/formats';
import { fileError, writeFileAtomically } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { hashBytes } from './hash-bytes.ts';
import { passingName, stepFolderName, syncFolder } from './layout.ts';
import { encodeManifest, type FileEntry, manifestFile, tensorFiles } from './manifest.ts';
import type { ModuleIdentity } from './module-identity.ts';

export interface CheckpointToSave {
  /** Steps done. */
  readonly step: number;
  /** What `best` compares, the lower the better: the validation loss. */
  readonly metric?: number;
  /** Goes into `model.safetensors`. Each tensor's bytes are asked for once, one tensor at a time. */
  readonly parameters: Iterable<TensorToWrite>;
  /** Goes into `optimizer.safetensors`: moments, amax histories, … */
  readonly state: Iterable<TensorToWrite>;
  /** What else the trainer wants to know again: position in the data, counters, seeds. Finite numbers only. */
  readonly json: JsonValue;
  /** Stops before the checkpoint takes its place; nothing of it is left. */
  readonly signal?: AbortSignal;
}

/**
 * Writes into a temporary folder, waits until all of it is on disk, and renames it: a crash at any moment leaves other checkpoints as they
 * are. A checkpoint of the same step is replaced.
 * @param parent the folder `checkpoints`, which exists
 * @returns the checkpoint's folder
 * @throws QuaverError `checkpoint-disk-full`, `checkpoint-bad-state`, `tensor-duplicate-name`, `tensor-size-mismatch`, `aborted`, …;
 * nothing is left of the new checkpoint then
 */
export async function writeCheckpoint(
  parent: string,
  { module, parts }: ModuleIdentity,
  save: CheckpointToSave,
): Promise<string> {
  const { step, metric, signal } = save;
  const temporary = join(parent, passingName(step, 'partial'));
  try {
    await mkdir(temporary);
    const files = {
      [tensorFiles.parameters]: await writeTensors(temporary, tensorFiles.parameters, save.parameters, signal),
      [tensorFiles.state]: await writeTensors(temporary, tensorFiles.state, save.state, signal),
    };
    const manifest = encodeManifest({ step, metric, module, moduleParts: parts, files, state: save.json });
    await writeFileAtomically(join(temporary, manifestFile), once(manifest), manifest.byteLength, asOptions(signal));
    await syncFolder(temporary);
    return await takePlace(parent, temporary, step);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw diskFull(parent, step, fileError(parent, error));
  }
}

async function writeTensors(
  folder: string,
  name: string,
  tensors: Iterable<TensorToWrite>,
  signal: AbortSignal | undefined,
): Promise<FileEntry> {
  const layout = layOutSafetensors(tensors, [['format', 'pt']]);
  const hash = createHash('sha256');
  const chunks = hashed(safetensorsChunks(layout, signal), hash);
  await writeFileAtomically(join(folder, name), chunks, layout.totalBytes, asOptions(signal));
  return { bytes: layout.totalBytes, sha256: hash.digest('hex') };
}

async function* hashed(chunks: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of chunks) {
    hashBytes(hash, chunk);
    yield chunk;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

function asOptions(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** From here on the checkpoint is there; between the two renames of a replacement the old one has another name, but is kept. */
async function takePlace(parent: string, temporary: string, step: number): Promise<string> {
  const place = join(parent, stepFolderName(step));
  const replaced = join(parent, passingName(step, 'replaced'));
  const present = await stat(place).then(
    () => true,
    () => false,
  );
  if (present) await rename(place, replaced);
  try {
    await rename(temporary, place);
  } catch (error) {
    if (present) await rename(replaced, place);
    throw error;
  }
  await syncFolder(parent);
  if (present) await rm(replaced, { recursive: true, force: true });
  return place;
}

function diskFull(parent: string, step: number, error: unknown): unknown {
  if (!(error instanceof QuaverError) || error.code !== 'disk-full') return error;
  return new QuaverError('checkpoint-disk-full', `the checkpoint of step ${step} was not saved: ${error.message}`, {
    where: { ...error.where, step },
    hint: `Free some space and resume: the checkpoints in ${parent} are as they were before.`,
    cause: error,
  });
}
