/** @file The segment table of a header: where tensor bytes lie in the file. */
import { QuaverError } from '@quaver/numerics';
import type * as fb from '../gen/ir.ts';
import { type ByteSource, type RangedTensorData, sourceRange } from './byte-source.ts';
import { SEGMENT_ALIGNMENT } from './layout.ts';

export interface StoredSegment {
  /** Absolute, in the file. */
  readonly offset: number;
  readonly byteLength: number;
  /** 32 bytes; undefined when the writer did not compute it. */
  readonly sha256: Uint8Array | undefined;
  readonly data: RangedTensorData;
}

/**
 * Reads the table, checking that every segment lies in the file and none overlaps another.
 * @throws QuaverError `module-segment`, `module-truncated`
 */
export function readSegments(root: fb.Module, dataStart: number, source: ByteSource): StoredSegment[] {
  const segments = Array.from({ length: root.segmentsLength() }, (_, i) => {
    const segment = root.segments(i)!;
    return readSegment(i, segment, dataStart, source);
  });
  const order = segments.map((_, i) => i).sort((a, b) => segments[a]!.offset - segments[b]!.offset);
  let end = 0;
  for (const i of order) {
    const { offset, byteLength } = segments[i]!;
    if (byteLength === 0) continue;
    if (offset < end) refuse('module-segment', i, `starts at byte ${offset}, inside another that ends at ${end}`);
    end = offset + byteLength;
  }
  return segments;
}

function readSegment(index: number, segment: fb.Segment, dataStart: number, source: ByteSource): StoredSegment {
  const offset = segment.offset() + BigInt(dataStart);
  const end = offset + segment.byteLength();
  if (end > BigInt(source.size)) {
    refuse('module-truncated', index, `ends at byte ${end}, the file has ${source.size}`);
  }
  if (segment.offset() % BigInt(SEGMENT_ALIGNMENT) !== 0n) {
    refuse('module-segment', index, `starts at ${segment.offset()}, which is not a multiple of ${SEGMENT_ALIGNMENT}`);
  }
  const sha256 = segment.sha256Array() ?? undefined;
  if (sha256 && sha256.byteLength !== 32) refuse('module-segment', index, `has a digest of ${sha256.byteLength} bytes`);
  const byteLength = Number(segment.byteLength());
  return { offset: Number(offset), byteLength, sha256, data: sourceRange(source, Number(offset), byteLength) };
}

function refuse(code: string, segment: number, problem: string): never {
  throw new QuaverError(code, `segment ${segment} ${problem}`, {
    hint: 'The file was cut off or damaged: write or download it again.',
    where: { segment },
  });
}
