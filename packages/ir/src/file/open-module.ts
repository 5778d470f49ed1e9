/** @file Reads a module from any source of bytes, and reads and writes whole files in memory. */
import { QuaverError } from '@quaver/numerics';
import { graphSchema } from '../gen/schema.ts';
import type { Module } from '../module.ts';
import { type ByteSource, memorySource, readExactly } from './byte-source.ts';
import { checkDataLength } from './copy-tensor.ts';
import { type DecodedModule, type DecodeOptions, decodeModule, readSizePrefix } from './decode.ts';
import { type EncodeOptions, encodeModule } from './encode.ts';
import { MAX_HEADER_BYTES, SIZE_PREFIX } from './layout.ts';

/** Length, root offset and identifier. */
const PREAMBLE_BYTES = 12;

/**
 * Reads and verifies the header of a .qvr source; tensor bytes are read when they are asked for.
 * @throws QuaverError `module-…`, `verify-…`, `op-unknown`, `file-truncated`
 */
export async function openModule(
  source: ByteSource,
  options: DecodeOptions & { readonly signal?: AbortSignal } = {},
): Promise<DecodedModule> {
  const preamble = await readExactly(source, 0, Math.min(PREAMBLE_BYTES, source.size), options.signal);
  const headerBytes = checkPreamble(preamble, source);
  return decodeModule(await readExactly(source, 0, headerBytes, options.signal), source, options);
}

/**
 * A module from the bytes of a whole .qvr file; its tensors are views of `bytes`.
 * @throws QuaverError `module-…`, `verify-…`, `op-unknown`
 */
export function readModuleBytes(bytes: Uint8Array, options: DecodeOptions & { readonly name?: string } = {}): Module {
  const source = memorySource(bytes, options.name);
  const headerBytes = checkPreamble(bytes.subarray(0, PREAMBLE_BYTES), source);
  return decodeModule(bytes.subarray(0, headerBytes), source, options).module;
}

/** Bytes of prefix and FlatBuffer, once the identifier is right and they are all there. */
function checkPreamble(preamble: Uint8Array, source: ByteSource): number {
  const identifier = String.fromCharCode(...preamble.subarray(8, PREAMBLE_BYTES));
  if (identifier !== graphSchema.identifier) {
    throw new QuaverError('module-identifier', `${source.name}: this is not a .qvr module`, {
      hint: `Bytes 8 to 11 of a module read "${graphSchema.identifier}". Use quaver import to make one from a checkpoint.`,
      where: { file: source.name, byte: 8 },
    });
  }
  const headerBytes = SIZE_PREFIX + readSizePrefix(preamble);
  if (headerBytes > source.size) {
    throw new QuaverError(
      'module-truncated',
      `${source.name}: the header has ${headerBytes} bytes, the file has ${source.size}`,
      { hint: 'The file was cut off: write or download it again.', where: { file: source.name, byte: 0 } },
    );
  }
  if (headerBytes > MAX_HEADER_BYTES) {
    throw new QuaverError('module-too-large', `${source.name}: the header has ${headerBytes} bytes`, {
      hint: `Headers up to ${MAX_HEADER_BYTES} bytes are read.`,
      where: { file: source.name, byte: 0 },
    });
  }
  return headerBytes;
}

/**
 * A whole .qvr file in memory.
 * @throws QuaverError `verify-…`, `op-unknown`, `module-string`, and whatever reading the module's data throws
 */
export async function writeModuleBytes(
  module: Module,
  options: EncodeOptions & { readonly signal?: AbortSignal } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const encoded = encodeModule(module, options);
  const file = new Uint8Array(encoded.totalBytes);
  for (const [i, { offset, byteLength, data, name }] of encoded.segments.entries()) {
    const bytes = await data.read(options.signal);
    checkDataLength(name, bytes.byteLength, byteLength);
    file.set(bytes, offset);
    encoded.setDigest(
      i,
      new Uint8Array(await crypto.subtle.digest('SHA-256', file.slice(offset, offset + byteLength))),
    );
  }
  file.set(encoded.header);
  return file;
}
