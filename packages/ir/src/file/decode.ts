/** @file Turns the header of a .qvr file into a verified module whose tensor bytes are read on demand. */
import { QuaverError } from '@quaver/numerics';
import { ByteBuffer } from 'flatbuffers';
import { dtypeBytes } from '../dtype.ts';
import * as fb from '../gen/ir.ts';
import { graphSchema } from '../gen/schema.ts';
import type { Module, Parameter, SymbolicDim, TensorData } from '../module.ts';
import { coreOps } from '../ops/index.ts';
import type { OpRegistry } from '../registry.ts';
import type { ConcreteType } from '../type.ts';
import { verifyModule } from '../verify.ts';
import type { ByteSource } from './byte-source.ts';
import { decodeFunction } from './decode-function.ts';
import { HeaderReader } from './header-reader.ts';
import { alignSegment, checkFormatVersion, checkOpsets, SIZE_PREFIX } from './layout.ts';
import { readSegments, type StoredSegment } from './segments.ts';
import { coreUpgraders, type Upgraders } from './upgrade.ts';
import { peekRootField, verifyStructure } from './verify-structure.ts';

export interface DecodeOptions {
  /** Where ops are looked up; the core ops by default. */
  readonly registry?: OpRegistry;
  /** How nodes of replaced op versions become current ones. */
  readonly upgraders?: Upgraders;
  /** Gives the data of tensors in other files; without it, reading such a tensor fails. */
  readonly external?: ExternalResolver;
}

/** Finds a tensor of `type`, `byteLength` bytes, in a file next to the module. Nothing is opened before `read`. */
export type ExternalResolver = (
  reference: NonNullable<TensorData['external']>,
  byteLength: number,
  type: ConcreteType,
) => TensorData;

/** What a header says beyond the module itself. */
export interface HeaderInfo {
  readonly formatVersion: number;
  readonly producer: string;
  readonly headerBytes: number;
  readonly segments: readonly StoredSegment[];
}

export interface DecodedModule {
  readonly module: Module;
  readonly info: HeaderInfo;
}

/** Slot of Module.format_version: fixed for all versions, so that a newer file can be told apart. */
const FORMAT_VERSION_SLOT = 4;

/**
 * Decodes and verifies. `header` is the file from byte 0 to at least the end of the FlatBuffer; it is copied.
 * @throws QuaverError `module-…`, `verify-…`, `op-unknown`
 */
export function decodeModule(header: Uint8Array, source: ByteSource, options: DecodeOptions = {}): DecodedModule {
  try {
    return decode(header, source, options);
  } catch (error) {
    if (!(error instanceof QuaverError)) throw error;
    const { code, message, hint, where } = error;
    throw new QuaverError(code, `${source.name}: ${message}`, {
      ...(hint === undefined ? {} : { hint }),
      where: { file: source.name, ...where },
      cause: error,
    });
  }
}

function decode(header: Uint8Array, source: ByteSource, options: DecodeOptions): DecodedModule {
  const { registry = coreOps, upgraders = coreUpgraders } = options;
  const buffer = copyHeader(header);
  checkFormatVersion(peekRootField(graphSchema, buffer, SIZE_PREFIX, FORMAT_VERSION_SLOT));
  verifyStructure(graphSchema, buffer, SIZE_PREFIX);

  const root = fb.Module.getSizePrefixedRootAsModule(new ByteBuffer(buffer));
  const reader = new HeaderReader(root);
  checkOpsets(reader.opsets(), registry);
  const segments = readSegments(root, alignSegment(buffer.byteLength), source);
  const data = segments.map((segment) => segment.data);
  const parameters = reader.list(root.parametersLength(), (i) =>
    decodeParameter(reader, root.parameters(i)!, data, options.external),
  );
  const states = reader.list(root.statesLength(), (i) => {
    const state = root.states(i)!;
    return { name: reader.text(state, 'name'), type: reader.type(state.type()) };
  });
  const names = { parameters: parameters.map(({ name }) => name), states: states.map(({ name }) => name) };
  const module: Module = {
    name: reader.text(root, 'name'),
    symbols: reader.list(root.symbolsLength(), (i) => decodeSymbol(reader, root.symbols(i)!)),
    parameters,
    states,
    functions: reader.list(root.functionsLength(), (i) => decodeFunction(reader, root.functions(i)!, names, upgraders)),
    metadata: reader.entries(root.metadataLength(), (i) => root.metadata(i)!),
    attachments: decodeAttachments(reader, root, data),
  };
  verifyModule(module, { registry });
  const info = {
    formatVersion: root.formatVersion(),
    producer: reader.text(root, 'producer'),
    headerBytes: buffer.byteLength,
    segments,
  };
  return { module, info };
}

/** The length prefix and the FlatBuffer, alone in a buffer of their own. */
function copyHeader(header: Uint8Array): Uint8Array<ArrayBuffer> {
  const end = header.byteLength < SIZE_PREFIX ? Number.POSITIVE_INFINITY : SIZE_PREFIX + readSizePrefix(header);
  if (end > header.byteLength) {
    throw new QuaverError('module-truncated', `the header has ${end} bytes, only ${header.byteLength} are there`, {
      hint: 'The file was cut off: write or download it again.',
    });
  }
  return header.slice(0, end) as Uint8Array<ArrayBuffer>;
}

/** Bytes of the FlatBuffer that follows the length. */
export function readSizePrefix(header: Uint8Array): number {
  return new DataView(header.buffer, header.byteOffset, SIZE_PREFIX).getUint32(0, true);
}

function decodeSymbol(reader: HeaderReader, symbol: fb.Symbol): SymbolicDim {
  const max = symbol.max();
  return {
    name: reader.text(symbol, 'name'),
    min: reader.integer(symbol.min(), 'symbol min'),
    max: max === null ? Number.POSITIVE_INFINITY : reader.integer(max, 'symbol max'),
    multiple: reader.integer(symbol.multiple(), 'symbol multiple'),
  };
}

function decodeParameter(
  reader: HeaderReader,
  parameter: fb.Parameter,
  segments: readonly TensorData[],
  resolve: ExternalResolver | undefined,
): Parameter {
  const name = reader.text(parameter, 'name');
  const type = reader.type(parameter.type()) as ConcreteType;
  const segment = parameter.segment();
  const external = parameter.external();
  if (segment !== null && external) {
    throw new QuaverError('module-segment', `the parameter '${name}' has both a segment and an external file`);
  }
  let data = segment === null ? undefined : reader.at(segments, segment, 'segment');
  if (external) data = decodeExternal(reader, external, type, resolve);
  return { name, type, data, trainable: parameter.trainable() };
}

function decodeExternal(
  reader: HeaderReader,
  external: fb.External,
  type: ConcreteType,
  resolve: ExternalResolver = unresolved,
): TensorData {
  const reference = {
    uri: reader.text(external, 'uri'),
    key: reader.text(external, 'key'),
    sha256: reader.text(external, 'sha256'),
  };
  const byteLength = type.shape.reduce((bytes, dim) => bytes * dim, dtypeBytes[type.dtype]);
  return { ...resolve(reference, byteLength, type), external: reference };
}

const unresolved: ExternalResolver = ({ uri, key }, byteLength) => ({
  byteLength,
  read: () =>
    Promise.reject(
      new QuaverError('external-unresolved', `the tensor '${key}' is in ${uri}, which was not opened`, {
        hint: 'Read the module from its file, next to its weights.',
        where: { file: uri, tensor: key },
      }),
    ),
});

function decodeAttachments(reader: HeaderReader, root: fb.Module, segments: readonly TensorData[]) {
  const attachments = new Map<string, TensorData>();
  for (let i = 0; i < root.attachmentsLength(); i++) {
    const attachment = root.attachments(i)!;
    const name = reader.text(attachment, 'name');
    if (attachments.has(name)) {
      throw new QuaverError('module-duplicate-key', `the attachment '${name}' is stored twice`);
    }
    attachments.set(name, reader.at(segments, attachment.segment(), 'segment'));
  }
  return attachments;
}
