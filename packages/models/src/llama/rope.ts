import type { LlamaConfig, RopeScaling } from './config.ts';

/** RoPE tables as f32, each [positions, headDim / 2]: cos and sin of position · inverse frequency, made in float64. */
export interface RopeTables {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/**
 * Tables for the first `positions` positions. `factors` (one per frequency, as GGUF's `rope_freqs.weight`)
 * divide the inverse frequencies.
 */
export function ropeTables(config: LlamaConfig, positions: number, factors?: Float32Array): RopeTables {
  const half = config.headDim / 2;
  const frequencies = inverseFrequencies(config).map((frequency, i) => frequency / (factors?.[i] ?? 1));
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * frequencies[i]!;
      cos[position * half + i] = Math.cos(angle);
      sin[position * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

function inverseFrequencies(config: LlamaConfig): number[] {
  const half = config.headDim / 2;
  return Array.from({ length: half }, (_, i) =>
    scaleFrequency(config.ropeTheta ** (-(2 * i) / config.headDim), config.ropeScaling),
  );
}

/** Llama 3.1 leaves short wavelengths alone, stretches long ones by `factor`, and blends between the two bounds. */
function scaleFrequency(frequency: number, scaling: RopeScaling): number {
  if (scaling.type === 'none') return frequency;
  if (scaling.type === 'linear') return frequency / scaling.factor;
  const wavelength = (2 * Math.PI) / frequency;
  const { originalMaxPosition, lowFreqFactor, highFreqFactor, factor } = scaling;
  if (wavelength < originalMaxPosition / highFreqFactor) return frequency;
  if (wavelength > originalMaxPosition / lowFreqFactor) return frequency / factor;
  const blend = (originalMaxPosition / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - blend) * (frequency / factor) + blend * frequency;
}
