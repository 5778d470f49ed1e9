import type { Fp8WeightToWrite, TensorToWrite } from '@quaver/formats';
import { writeHfFp8 } from '@quaver/formats/node';
import type { Module, Parameter } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { compileModel } from '../compile-model.ts';
import { isCompiled } from '../recipe-of.ts';
import { fusedNeighbours, quantizedWeight } from './fused-projections.ts';
import { dataOf, type ExportOptions, headName, readAssets, readConfig } from './hugging-face-parts.ts';

export interface ExportResult {
  /** Weights written as FP8 codes with block scales. */
  readonly fp8Weights: number;
  /** Those of them that the module keeps in high precision, quantized because serving engines fuse them with FP8 ones. */
  readonly requantizedWeights: number;
  /** Tensors written as they are. */
  readonly otherTensors: number;
}

const blockSize = 128;
const scaleSuffix = '_scale_inv';

/**
 * Writes a module as a folder in the Hugging Face FP8 block layout, which vLLM and transformers serve:
 * weights `X` in E4M3 with `X_scale_inv`, everything else as it is in the module, except that projections which serving engines
 * fuse get one precision. A module that is not compiled is compiled with fp8-block first. The folder appears when it is complete.
 * @throws QuaverError `export-not-fp8-block`, `export-config-missing`, `output-exists`, `disk-full`, `aborted`
 */
export async function exportHfFp8(source: Module, folder: string, options: ExportOptions = {}): Promise<ExportResult> {
  const { signal } = options;
  const module = isCompiled(source) ? source : (await compileModel(source, signal ? { signal } : {})).module;
  const { weights, requantized, tensors } = splitParameters(module);
  if (weights.length === 0) {
    throw notFp8Block(module, 'it has no weights in FP8');
  }
  const config = await readConfig(module);
  const separateHead = tensors.some(({ name }) => name === headName) || weights.some(({ name }) => name === headName);
  await writeHfFp8(
    folder,
    { config: separateHead ? { ...config, tie_word_embeddings: false } : config, weights, tensors },
    { ...options, assets: await readAssets(module, signal) },
  );
  return { fp8Weights: weights.length, requantizedWeights: requantized, otherTensors: tensors.length };
}

function splitParameters(module: Module): {
  weights: Fp8WeightToWrite[];
  requantized: number;
  tensors: TensorToWrite[];
} {
  const byName = new Map(module.parameters.map((parameter) => [parameter.name, parameter]));
  const weights: Fp8WeightToWrite[] = [];
  const tensors: TensorToWrite[] = [];
  let requantized = 0;
  for (const parameter of module.parameters) {
    const { name, type } = parameter;
    // RoPE tables follow from the configuration; a copy of a weight for training is not part of the layout.
    if (!/\.(weight|bias)$/.test(name)) continue;
    const scale = byName.get(name + scaleSuffix);
    if (type.dtype === 'f8e4m3fn' && scale) weights.push(fp8Weight(module, parameter, scale));
    else if (type.dtype === 'f32' || type.dtype === 'bf16' || type.dtype === 'f16') {
      if (fusedNeighbours(name).some((neighbour) => byName.get(neighbour)?.type.dtype === 'f8e4m3fn')) {
        weights.push(quantizedWeight(parameter, blockSize, (signal) => dataOf(module, parameter).read(signal)));
        requantized++;
        continue;
      }
      tensors.push({
        name,
        dtype: type.dtype,
        shape: type.shape,
        read: (signal) => dataOf(module, parameter).read(signal),
      });
    } else throw notFp8Block(module, `'${name}' is ${type.dtype} without block scales`);
  }
  return { weights, requantized, tensors };
}

function fp8Weight(module: Module, weight: Parameter, scale: Parameter): Fp8WeightToWrite {
  const [rows = 0, columns = 0] = weight.type.shape;
  const expected = [Math.ceil(rows / blockSize), Math.ceil(columns / blockSize)];
  if (weight.type.shape.length !== 2 || scale.type.dtype !== 'f32' || scale.type.shape.join() !== expected.join()) {
    const found = `${scale.type.dtype}[${scale.type.shape}]`;
    throw notFp8Block(module, `the scales of '${weight.name}' are ${found}, expected f32[${expected}]`);
  }
  return {
    name: weight.name,
    shape: [rows, columns],
    readCodes: (signal) => dataOf(module, weight).read(signal),
    async readScale(signal) {
      const bytes = await dataOf(module, scale).read(signal);
      return new Float32Array(bytes.slice().buffer);
    },
  };
}

function notFp8Block(module: Module, problem: string): QuaverError {
  return new QuaverError(
    'export-not-fp8-block',
    `module '${module.name}' does not fit the FP8 block layout: ${problem}`,
    {
      hint: `The layout holds E4M3 weights with one f32 scale per ${blockSize}×${blockSize} block: compile with fp8-block or fp8-block-f32.`,
      where: { module: module.name },
    },
  );
}
