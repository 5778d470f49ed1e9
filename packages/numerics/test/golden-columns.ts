import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** The u32 columns of one file of `data/` (see ORIGIN.md for its layout). */
export function goldenColumns<Count extends number>(
  name: string,
  count: Count,
): Uint32Array[] & { readonly length: Count } {
  const bytes = gunzipSync(readFileSync(new URL(`data/${name}.bin.gz`, import.meta.url)));
  const words = new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  if (words[0] !== count) throw new Error(`${name}: expected ${count} columns, found ${words[0]}`);
  let at = 1 + count;
  const columns = Array.from({ length: count }, (_, index) => {
    const column = words.slice(at, at + words[1 + index]!);
    at += column.length;
    for (let i = 1; i < column.length; i++) column[i]! += column[i - 1]!;
    return column;
  });
  return columns as Uint32Array[] & { readonly length: Count };
}

/** The same bits as f32 values. */
export function asFloats(bits: Uint32Array): Float32Array {
  return new Float32Array(bits.buffer, bits.byteOffset, bits.length);
}
