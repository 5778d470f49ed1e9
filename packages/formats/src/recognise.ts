import { QuaverError } from '@quaver/numerics';
import type { ByteSource } from './byte-source.ts';
import type { Checkpoint } from './checkpoint.ts';
import { openGguf } from './gguf/open.ts';
import { openSafetensors } from './safetensors/open.ts';

const ascii = (bytes: Uint8Array) => String.fromCharCode(...bytes);

/** What other files start with, so that an error can say what was given instead. */
const strangers: readonly (readonly [test: (start: string) => boolean, what: string, hint: string])[] = [
  [
    (start) => start.startsWith('version https://git-lfs'),
    'a Git LFS pointer, not the file itself',
    'Run "git lfs pull" in the repository, or download the file again.',
  ],
  [
    (start) => start.slice(4, 8) === 'QVR1',
    'a Quaver module, not a checkpoint',
    'It is imported already: use it as it is.',
  ],
  [
    (start) => start.startsWith('PK\x03\x04') || start.startsWith('\x80\x02'),
    'a zip or pickle, perhaps a PyTorch checkpoint',
    'Save the model as safetensors: model.save_pretrained(folder, safe_serialization=True).',
  ],
  [(start) => /^\s*[{[<]/.test(start), 'text', 'Give the folder of the checkpoint, or its .safetensors or .gguf file.'],
];

/**
 * The format of a file, by its content; its name does not matter.
 * @throws QuaverError `checkpoint-unrecognised`
 */
export async function recogniseCheckpoint(source: ByteSource, signal?: AbortSignal): Promise<'safetensors' | 'gguf'> {
  const file = source.name;
  const start = ascii(await source.read(0, Math.min(source.size, 32), signal));
  if (start.startsWith('GGUF')) return 'gguf';
  // A header length below 100 MB leaves the upper four bytes of its 64 bits zero; then the JSON starts.
  if (start.slice(4, 9) === '\0\0\0\0{') return 'safetensors';
  const [
    ,
    what = 'neither safetensors nor GGUF',
    hint = 'Give a .safetensors or .gguf file, or the folder of a checkpoint.',
  ] =
    source.size === 0
      ? [null, 'empty', 'The download failed: fetch it again.']
      : (strangers.find(([test]) => test(start)) ?? []);
  throw new QuaverError('checkpoint-unrecognised', `${file}: this file is ${what}`, { where: { file, byte: 0 }, hint });
}

/** Opens a safetensors or GGUF file. @throws QuaverError `checkpoint-unrecognised`, and as the reader of its format. */
export async function openCheckpointFile(source: ByteSource, signal?: AbortSignal): Promise<Checkpoint> {
  const format = await recogniseCheckpoint(source, signal);
  return format === 'gguf' ? openGguf(source, signal) : openSafetensors(source, signal);
}
