/** @file The small files that belong to a model's tensors, and what is read out of them. */
import { memoryData, type TensorData } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/** Name → contents. */
export type ModelFiles = ReadonlyMap<string, Uint8Array>;

/** Files that travel inside the module, so that it can generate text on its own. */
export const modelFileNames = [
  'tokenizer.json',
  'tokenizer_config.json',
  'generation_config.json',
  'chat_template.jinja',
  'config.json',
] as const;

/** @throws QuaverError `model-json-invalid` */
export function parseJson(files: ModelFiles, name: string, source: string): Record<string, unknown> | undefined {
  const bytes = files.get(name);
  if (!bytes) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    throw new QuaverError('model-json-invalid', `${source}: ${name} is not JSON: ${(cause as Error).message}`, {
      hint: 'Fetch the file again.',
      where: { file: name },
    });
  }
  throw new QuaverError('model-json-invalid', `${source}: ${name} is not a JSON object`, { where: { file: name } });
}

export function fileAttachments(files: ModelFiles): Map<string, TensorData> {
  const present = modelFileNames.filter((name) => files.has(name));
  return new Map(present.map((name) => [name, memoryData(files.get(name)!)]));
}

/**
 * Ids that end a text: the generation configuration's, else the model's.
 * @throws QuaverError `model-json-invalid`
 */
export function eosTokenIds(files: ModelFiles, source: string): number[] {
  for (const name of ['generation_config.json', 'config.json']) {
    const ids = [parseJson(files, name, source)?.eos_token_id].flat();
    const valid = ids.filter((id): id is number => Number.isInteger(id));
    if (valid.length > 0) return valid;
  }
  return [];
}
