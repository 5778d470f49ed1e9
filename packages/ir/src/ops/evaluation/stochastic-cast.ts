import { floatFormats, philox4x32 } from '@quaver/numerics';

/**
 * Casts f32 numbers to an 8-bit format, each to one of its two neighbours there: to the farther one from zero with the probability
 * (|x| - near) / (far - near), so that the result is x on average. Numbers of the format stay; those beyond its largest one, Inf and
 * NaN are cast as always. Element i draws word i mod 4 of Philox4x32-10 with the counter (⌊i/4⌋, 0, stream, 0) and the key
 * (seed, 0), and takes the farther neighbour where word / 2^32 is below that probability.
 */
export function stochasticCast(
  to: 'f8e4m3fn' | 'f8e5m2',
  values: Float32Array,
  saturate: boolean,
  { seed, stream }: { readonly seed: number; readonly stream: number },
): Uint8Array {
  const format = floatFormats[to];
  const codes = new Uint8Array(values.length);
  format.encodeInto(values, codes, saturate);
  for (let start = 0; start < values.length; start += 4) {
    const words = philox4x32([start / 4, 0, stream >>> 0, 0], [seed >>> 0, 0]);
    const end = Math.min(values.length, start + 4);
    for (let i = start; i < end; i++) {
      const size = Math.abs(values[i]!);
      if (!(size < format.maxFinite)) continue;
      const sign = codes[i]! & 0x80;
      const nearest = codes[i]! & 0x7f;
      const near = format.decode(nearest) <= size ? nearest : nearest - 1;
      const [low, high] = [format.decode(near), format.decode(near + 1)];
      // Exact: the neighbours are a power of two apart.
      const probability = (size - low) / (high - low);
      codes[i] = sign | (words[i - start]! < probability * 2 ** 32 ? near + 1 : near);
    }
  }
  return codes;
}
