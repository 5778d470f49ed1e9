/** @file `trainer.json`: what a checkpoint holds, the hashes of its files, and what the trainer wants to know again. */
import { createHash } from 'node:crypto';
import type { JsonValue } from '@quaver/formats';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import type { IdentityParts } from './module-identity.ts';

export const manifestFile = 'trainer.json';
/** Of the parameters and of everything else that has the form of tensors. */
export const tensorFiles: { readonly parameters: 'model.safetensors'; readonly state: 'optimizer.safetensors' } = {
  parameters: 'model.safetensors',
  state: 'optimizer.safetensors',
};
export type TensorFile = (typeof tensorFiles)[keyof typeof tensorFiles];

const format = 'quaver-training-checkpoint';
/** Of `trainer.json`; a reader takes its own and refuses others. */
const version = 1;
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const notFinite = z.enum(['NaN', 'Infinity', '-Infinity']);
const fileEntry = z.object({ bytes: z.int().min(0), sha256: digest });

const manifestSchema = z.object({
  format: z.literal(format),
  version: z.literal(version),
  step: z.int().min(0),
  /** What `best` compares: the lower the better. */
  metric: z.union([z.number(), notFinite.transform(Number)]).optional(),
  /** Identity of the module whose tensors these are. */
  module: z.string().min(1),
  /** What the identity was made of; not in checkpoints of the first releases. */
  module_parts: z.record(z.string(), z.json()).optional(),
  files: z.object({ [tensorFiles.parameters]: fileEntry, [tensorFiles.state]: fileEntry }),
  state: z.json(),
  /** Over the JSON text of all that is above. */
  sha256: digest,
});

export interface FileEntry {
  readonly bytes: number;
  readonly sha256: string;
}

export interface Manifest {
  readonly step: number;
  readonly metric: number | undefined;
  readonly module: string;
  readonly moduleParts?: IdentityParts | undefined;
  readonly files: Readonly<Record<TensorFile, FileEntry>>;
  readonly state: JsonValue;
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** @throws QuaverError `checkpoint-bad-state` when the state is not JSON: NaN, infinities and `undefined` would be lost in it */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const { step, metric, module, moduleParts, files, state } = manifest;
  const checked = z.json().safeParse(state);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw new QuaverError('checkpoint-bad-state', `step ${step}: the trainer's state is not JSON: ${issue?.message}`, {
      where: { step },
      hint: 'Expected strings, finite numbers, booleans, null, and arrays and objects of these.',
    });
  }
  const finite = metric === undefined || Number.isFinite(metric);
  const head = { format, version, step, metric: finite ? metric : String(metric) };
  const content = { ...head, module, module_parts: moduleParts, files, state };
  const text = JSON.stringify(content);
  return new TextEncoder().encode(`${text.slice(0, -1)},"sha256":"${sha256(text)}"}\n`);
}

/** @throws QuaverError `checkpoint-corrupt`, `checkpoint-unknown-version` */
export function decodeManifest(file: string, bytes: Uint8Array): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw corrupt(file, 'expected JSON', cause);
  }
  const head = z.object({ format: z.literal(format), version: z.int() }).safeParse(json);
  if (!head.success) throw corrupt(file, `expected "format": "${format}" and a version`);
  if (head.data.version !== version) {
    throw new QuaverError(
      'checkpoint-unknown-version',
      `${file}: has version ${head.data.version}, expected ${version}`,
      {
        where: { file },
        hint: 'Another release of Quaver wrote this checkpoint: resume it with that release.',
      },
    );
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw corrupt(file, `${issue?.path.join('.')}: ${issue?.message}`);
  }
  // The text of what was parsed is the text that was hashed: the writer wrote it by the same function.
  const { sha256: expected, ...content } = json as { sha256: string; state: JsonValue };
  if (sha256(JSON.stringify(content)) !== expected) throw corrupt(file, 'its content does not have its sha256');
  const { step, metric, module, module_parts: moduleParts, files } = parsed.data;
  return { step, metric, module, moduleParts, files, state: content.state };
}

function corrupt(file: string, problem: string, cause?: unknown): QuaverError {
  return new QuaverError('checkpoint-corrupt', `${file}: ${problem}`, {
    where: { file },
    hint: 'The file was damaged after it was written: resume from another checkpoint of the run.',
    cause,
  });
}
