import { QuaverError } from '@quaver/numerics';
import { isJsonObject, type JsonObject, type JsonValue } from '../json.ts';

/** Rows and columns that share one scale. */
export type BlockShape = readonly [rows: number, columns: number];

export const defaultBlockShape: BlockShape = [128, 128];

/**
 * The block shape that `config.json` declares in `quantization_config`, or `undefined` for an unquantized model.
 * @param file the config's path, for errors
 * @throws QuaverError `quantization-unsupported` for another method than FP8 blocks, `hf-fp8-bad-config`
 */
export function fp8BlockShape(file: string, config: JsonObject): BlockShape | undefined {
  const quantization = config.quantization_config;
  if (quantization === undefined || quantization === null) return undefined;
  const where = { file };
  if (!isJsonObject(quantization)) {
    throw new QuaverError('hf-fp8-bad-config', `${file}: "quantization_config" must be an object`, { where });
  }
  const { quant_method: method, fmt = 'e4m3', weight_block_size: block } = quantization;
  if (method !== 'fp8' || fmt !== 'e4m3' || block === undefined || block === null) {
    const found = `quant_method ${show(method)}, fmt ${show(fmt)}, weight_block_size ${show(block)}`;
    throw new QuaverError('quantization-unsupported', `${file}: cannot read a checkpoint quantized with ${found}`, {
      where,
      hint: 'Readable are unquantized checkpoints and "fp8" with fmt "e4m3" and a weight_block_size.',
    });
  }
  if (!isBlockShape(block)) {
    const expected = 'two whole numbers above 0';
    throw new QuaverError('hf-fp8-bad-config', `${file}: weight_block_size is ${show(block)}, expected ${expected}`, {
      where,
    });
  }
  return block;
}

/** `quantization_config` as vLLM and transformers read it. `keptModules` stay in high precision. */
export function fp8QuantizationConfig(blockShape: BlockShape, keptModules: readonly string[]): JsonObject {
  return {
    activation_scheme: 'dynamic',
    fmt: 'e4m3',
    modules_to_not_convert: keptModules,
    quant_method: 'fp8',
    weight_block_size: blockShape,
  };
}

function isBlockShape(value: JsonValue): value is BlockShape {
  return Array.isArray(value) && value.length === 2 && value.every((size) => Number.isSafeInteger(size) && size > 0);
}

function show(value: JsonValue | undefined): string {
  return value === undefined ? 'missing' : JSON.stringify(value);
}
