/** @file Turns a module into the header and the segment list of a .qvr file. */
import { Builder, ByteBuffer } from 'flatbuffers';
import * as fb from '../gen/ir.ts';
import type { Module, Parameter, TensorData } from '../module.ts';
import { coreOps } from '../ops/index.ts';
import type { OpRegistry } from '../registry.ts';
import { verifyModule } from '../verify.ts';
import { FunctionEncoder } from './encode-function.ts';
import { HeaderTables } from './header-tables.ts';
import { alignSegment, FORMAT_VERSION, moduleOpsets } from './layout.ts';

/** Bytes of a file outside its header; `offset` is absolute. */
export interface EncodedSegment {
  readonly offset: number;
  readonly byteLength: number;
  readonly data: TensorData;
  /** The parameter or attachment that the bytes belong to, for progress and errors. */
  readonly name: string;
}

export interface EncodedModule {
  /** The file's beginning up to the first segment: length, FlatBuffer, zero padding. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** In ascending order; gaps between segments are zeros. */
  readonly segments: readonly EncodedSegment[];
  readonly totalBytes: number;
  /** Puts the sha256 (32 bytes) of the data of `segments[index]` into the header. */
  setDigest(index: number, sha256: Uint8Array): void;
}

export interface EncodeOptions {
  /** Where ops are looked up; the core ops by default. */
  readonly registry?: OpRegistry;
  /** What the header names as its writer. */
  readonly producer?: string;
  /** What becomes of data in files next to the module: a reference (the default), or a copy in this file. */
  readonly external?: 'reference' | 'embed';
}

/**
 * Verifies a module and encodes everything but tensor bytes. Segments that share one `TensorData` are stored once.
 * Digests are zeros until `setDigest`.
 * @throws QuaverError `verify-…`, `op-unknown`, `module-string`
 */
export function encodeModule(module: Module, options: EncodeOptions = {}): EncodedModule {
  const { registry = coreOps, producer = 'quaver', external = 'reference' } = options;
  verifyModule(module, { registry });
  const segments = new SegmentList();
  const segmentOf = ({ name, data }: Parameter) =>
    data === undefined || (data.external && external === 'reference') ? undefined : segments.add(data, name);
  const parameterSegments = module.parameters.map(segmentOf);
  const attachmentSegments = [...module.attachments].map(([name, data]) => segments.add(data, name));
  const buffer = encodeHeader(module, { registry, producer, parameterSegments, attachmentSegments, segments });

  const dataStart = alignSegment(buffer.byteLength);
  const header = new Uint8Array(dataStart);
  header.set(buffer);
  return {
    header,
    segments: segments.items.map((segment) => ({ ...segment, offset: dataStart + segment.offset })),
    totalBytes: dataStart + segments.end,
    setDigest: (index, sha256) => digestField(header, index).set(sha256),
  };
}

/** Segments in file order, offsets counted from the start of the data. */
class SegmentList {
  readonly items: EncodedSegment[] = [];
  readonly #indices = new Map<TensorData, number>();
  end = 0;

  add(data: TensorData, name: string): number {
    const known = this.#indices.get(data);
    if (known !== undefined) return known;
    const offset = alignSegment(this.end);
    this.#indices.set(data, this.items.length);
    this.items.push({ offset, byteLength: data.byteLength, data, name });
    this.end = offset + data.byteLength;
    return this.items.length - 1;
  }
}

interface HeaderParts {
  readonly registry: OpRegistry;
  readonly producer: string;
  readonly parameterSegments: readonly (number | undefined)[];
  readonly attachmentSegments: readonly number[];
  readonly segments: SegmentList;
}

function encodeHeader(module: Module, parts: HeaderParts): Uint8Array {
  const b = new Builder(64 * 1024);
  const tables = new HeaderTables(b, module, parts.registry);
  const functions = module.functions.map((fn) => new FunctionEncoder(tables, fn).encode());
  const parameters = module.parameters.map((parameter, i) =>
    encodeParameter(tables, parameter, parts.parameterSegments[i]),
  );
  const states = module.states.map(({ name, type }) => fb.State.createState(b, tables.string(name), tables.type(type)));
  const attachments = [...module.attachments.keys()].map((name, i) =>
    fb.Attachment.createAttachment(b, tables.string(name), parts.attachmentSegments[i]!),
  );
  const segments = parts.segments.items.map(({ offset, byteLength }) => {
    const sha256 = fb.Segment.createSha256Vector(b, new Uint8Array(32));
    return fb.Segment.createSegment(b, BigInt(offset), BigInt(byteLength), sha256);
  });
  const opsets = moduleOpsets(module).map(({ domain, version }) =>
    fb.Opset.createOpset(b, tables.string(domain), version),
  );
  const symbols = module.symbols.map((symbol) => encodeSymbol(tables, symbol));
  const vectors = {
    opsets: fb.Module.createOpsetsVector(b, opsets),
    ops: fb.Module.createOpsVector(b, tables.encodeOps()),
    types: fb.Module.createTypesVector(b, tables.encodeTypes()),
    dimExpressions: fb.Module.createDimExpressionsVector(b, tables.encodeDimExpressions()),
    symbols: fb.Module.createSymbolsVector(b, symbols),
    parameters: fb.Module.createParametersVector(b, parameters),
    states: fb.Module.createStatesVector(b, states),
    functions: fb.Module.createFunctionsVector(b, functions),
    metadata: fb.Module.createMetadataVector(b, tables.entries(module.metadata)),
    attachments: fb.Module.createAttachmentsVector(b, attachments),
    segments: fb.Module.createSegmentsVector(b, segments),
  };
  const name = tables.string(module.name);
  const producer = tables.string(parts.producer);
  fb.Module.startModule(b);
  fb.Module.addFormatVersion(b, FORMAT_VERSION);
  fb.Module.addProducer(b, producer);
  fb.Module.addName(b, name);
  fb.Module.addOpsets(b, vectors.opsets);
  fb.Module.addOps(b, vectors.ops);
  fb.Module.addDimExpressions(b, vectors.dimExpressions);
  fb.Module.addTypes(b, vectors.types);
  fb.Module.addSymbols(b, vectors.symbols);
  fb.Module.addParameters(b, vectors.parameters);
  fb.Module.addStates(b, vectors.states);
  fb.Module.addFunctions(b, vectors.functions);
  fb.Module.addMetadata(b, vectors.metadata);
  fb.Module.addAttachments(b, vectors.attachments);
  fb.Module.addSegments(b, vectors.segments);
  fb.Module.finishSizePrefixedModuleBuffer(b, fb.Module.endModule(b));
  return b.asUint8Array();
}

function encodeSymbol(tables: HeaderTables, symbol: Module['symbols'][number]): number {
  const b = tables.builder;
  const name = tables.string(symbol.name);
  fb.Symbol.startSymbol(b);
  fb.Symbol.addName(b, name);
  fb.Symbol.addMin(b, BigInt(symbol.min));
  if (symbol.max !== Number.POSITIVE_INFINITY) fb.Symbol.addMax(b, BigInt(symbol.max));
  fb.Symbol.addMultiple(b, BigInt(symbol.multiple));
  return fb.Symbol.endSymbol(b);
}

function encodeParameter(tables: HeaderTables, parameter: Parameter, segment: number | undefined): number {
  const b = tables.builder;
  const name = tables.string(parameter.name);
  const type = tables.type(parameter.type);
  const source = segment === undefined ? parameter.data?.external : undefined;
  const external =
    source &&
    fb.External.createExternal(b, tables.string(source.uri), tables.string(source.key), tables.string(source.sha256));
  fb.Parameter.startParameter(b);
  fb.Parameter.addName(b, name);
  fb.Parameter.addType(b, type);
  fb.Parameter.addTrainable(b, parameter.trainable);
  if (segment !== undefined) fb.Parameter.addSegment(b, segment);
  if (external !== undefined) fb.Parameter.addExternal(b, external);
  return fb.Parameter.endParameter(b);
}

/** The digest's bytes inside `header`: written in place, because a digest is known only after its data was read. */
function digestField(header: Uint8Array, index: number): Uint8Array {
  const root = fb.Module.getSizePrefixedRootAsModule(new ByteBuffer(header));
  return root.segments(index)!.sha256Array()!;
}
