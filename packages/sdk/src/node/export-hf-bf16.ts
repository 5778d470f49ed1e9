import type { JsonObject, TensorToWrite } from '@quaver/formats';
import { writeHfFolder } from '@quaver/formats/node';
import { coreOps, type Module, type Parameter, viewHostArray } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { withMasters } from '@quaver/train';
import { isCompiled, recipeOf } from '../recipe-of.ts';
import { dataOf, type ExportOptions, headName, readAssets, readConfig } from './hugging-face-parts.ts';

export interface ExportBf16Options extends ExportOptions {
  /** Most bytes of tensors per file; default 5·10⁹, as on the Hub. */
  readonly maxShardBytes?: number;
}

export interface ExportBf16Result {
  /** Tensors written, all in BF16. */
  readonly tensors: number;
  /** Those of them that the module holds in another type, rounded to nearest even. */
  readonly rounded: number;
}

/**
 * Writes an imported or trained module as a Hugging Face folder in BF16: `config.json`, `model.safetensors` or its shards, and
 * the tokenizer. Weights in BF16 keep their bits; those in f32, f16 or FP8 are rounded to nearest even, once. A model with tied
 * embeddings has no `lm_head.weight`, and its `config.json` says so. The folder appears when it is complete.
 * @throws QuaverError `export-compiled`, `export-config-missing`, `export-no-data`, `output-exists`, `disk-full`, `aborted`
 */
export async function exportHfBf16(
  module: Module,
  folder: string,
  options: ExportBf16Options = {},
): Promise<ExportBf16Result> {
  if (isCompiled(module)) throw compiled(module);
  // FP8 codes become the numbers that they stand for.
  const masters = new Map(withMasters(module).parameters.map((parameter) => [parameter.name, parameter]));
  const weights = module.parameters.filter(({ trainable }) => trainable);
  const tensors = weights.map((stored) =>
    stored.type.dtype === 'bf16' ? asStored(module, stored) : rounded(module, masters.get(stored.name)!),
  );
  const config = bf16Config(
    await readConfig(module),
    weights.some(({ name }) => name === headName),
  );
  await writeHfFolder(folder, { config, tensors }, { ...options, assets: await readAssets(module, options.signal) });
  return { tensors: tensors.length, rounded: weights.filter(({ type }) => type.dtype !== 'bf16').length };
}

function asStored(module: Module, parameter: Parameter): TensorToWrite {
  const { name, type } = parameter;
  return { name, dtype: 'bf16', shape: type.shape, read: (signal) => dataOf(module, parameter).read(signal) };
}

function rounded(module: Module, master: Parameter): TensorToWrite {
  const { name, type } = master;
  const bf16 = { dtype: 'bf16', shape: type.shape } as const;
  return {
    name,
    ...bf16,
    async read(signal) {
      const floats = viewHostArray('f32', await dataOf(module, master).read(signal));
      const [result] = coreOps
        .latest('core', 'convert')
        .evaluate([{ type, data: floats }], { to: 'bf16', saturate: true }, [bf16]);
      const { buffer, byteOffset, byteLength } = result!.data;
      return new Uint8Array(buffer, byteOffset, byteLength);
    },
  };
}

/** The configuration without what it said of the checkpoint that the model came from. Newer files say `dtype`, older ones `torch_dtype`. */
function bf16Config(source: JsonObject, hasHead: boolean): JsonObject {
  const { quantization_config: _, dtype, ...rest } = source;
  return {
    ...rest,
    ...(dtype === undefined ? {} : { dtype: 'bfloat16' }),
    torch_dtype: 'bfloat16',
    tie_word_embeddings: !hasHead,
  };
}

function compiled(module: Module): QuaverError {
  const recipe = recipeOf(module)?.name ?? 'a recipe';
  return new QuaverError('export-compiled', `module '${module.name}' is compiled, with ${recipe}`, {
    hint: 'BF16 is exported from the imported or trained model, whose weights no recipe has rounded; a compiled one goes out as FP8.',
    where: { module: module.name },
  });
}
