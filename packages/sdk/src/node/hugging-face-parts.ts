/** @file What every exported Hugging Face folder takes from a module besides its weights. */
import type { JsonObject } from '@quaver/formats';
import type { Module, Parameter, TensorData } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

export interface ExportOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** The output projection, which a model with tied embeddings has not. */
export const headName = 'lm_head.weight';

/** Files of the checkpoint that go along; `config.json` is written from the module's. */
const assetNames = [
  'tokenizer.json',
  'tokenizer_config.json',
  'generation_config.json',
  'chat_template.jinja',
] as const;

/** The tokenizer's files and others that travel in the module. */
export function readAssets(
  { attachments }: Module,
  signal?: AbortSignal,
): Promise<(readonly [(typeof assetNames)[number], Uint8Array])[]> {
  const present = assetNames.flatMap((name) => {
    const data = attachments.get(name);
    return data ? [[name, data] as const] : [];
  });
  return Promise.all(present.map(async ([name, data]) => [name, await data.read(signal)] as const));
}

/** @throws QuaverError `export-config-missing` */
export async function readConfig(module: Module): Promise<JsonObject> {
  const data = module.attachments.get('config.json');
  if (!data) {
    throw new QuaverError('export-config-missing', `module '${module.name}' carries no config.json`, {
      hint: 'Import the model from its Hugging Face folder: this checkpoint does not say everything that the layout needs.',
      where: { module: module.name },
    });
  }
  return JSON.parse(new TextDecoder().decode(await data.read())) as JsonObject;
}

/** @throws QuaverError `export-no-data` */
export function dataOf(module: Module, { name, data }: Parameter): TensorData {
  if (data) return data;
  throw new QuaverError('export-no-data', `parameter '${name}' of module '${module.name}' has no data`, {
    hint: 'The module is only a structure; read it from a .qvr file.',
    where: { tensor: name },
  });
}
