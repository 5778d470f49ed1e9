/** @file The manifests of the vectors: JSON that any language reads; VECTORS.md is its description. */
import { type Attributes, type ConcreteType, isDType } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/** Reads one file of the vectors by its name: from a folder, from a server, from memory. */
export type ReadVectorFile = (name: string, signal?: AbortSignal) => Promise<Uint8Array>;

/**
 * How close a result must be. Where executors may add in another order, an executor that promises row invariance must
 * still give the bits; the others must come this close.
 */
export type Tolerance = 'bits' | { readonly ulp: number } | { readonly snr_db: number };

/** A tensor of the safetensors file beside the manifest. */
export interface TensorReference extends ConcreteType {
  readonly tensor: string;
}

export interface VectorCase {
  readonly name: string;
  /** By the op's operands in order; null is an absent one. */
  readonly operands: readonly (TensorReference | null)[];
  readonly attributes: Attributes;
  readonly results: readonly TensorReference[];
  readonly tolerance: Tolerance;
  /** Operands that a model holds as parameters: the case is run with them as inputs, and as parameters. */
  readonly parameters?: readonly number[];
}

export interface Manifest {
  readonly domain: string;
  readonly op: string;
  readonly version: number;
  /** Name of the safetensors file. */
  readonly tensors: string;
  readonly cases: readonly VectorCase[];
}

const formatVersion = 1;

/**
 * Names of the manifests, from `index.json`.
 * @throws QuaverError `vectors-invalid`, and what `read` throws
 */
export async function readIndex(read: ReadVectorFile, signal?: AbortSignal): Promise<readonly string[]> {
  const { manifests } = (await readJson(read, 'index.json', signal)) as { readonly manifests?: unknown };
  if (!Array.isArray(manifests) || !manifests.every((name) => typeof name === 'string')) {
    throw invalid('index.json', '"manifests" must be a list of file names');
  }
  return manifests;
}

/** @throws QuaverError `vectors-invalid`, and what `read` throws */
export async function readManifest(read: ReadVectorFile, name: string, signal?: AbortSignal): Promise<Manifest> {
  const manifest = (await readJson(read, name, signal)) as unknown as Manifest;
  const { domain, op, version, tensors, cases } = manifest;
  const texts = [domain, op, tensors];
  if (!texts.every((text) => typeof text === 'string') || !Number.isInteger(version) || !Array.isArray(cases)) {
    throw invalid(name, 'it needs domain, op, version, tensors and cases');
  }
  for (const item of cases) checkCase(name, item);
  return manifest;
}

function checkCase(file: string, item: VectorCase): void {
  const { name, operands, results, attributes, tolerance } = item;
  if (typeof name !== 'string') throw invalid(file, 'a case has no name');
  const references = Array.isArray(operands) && Array.isArray(results) ? [...operands, ...results] : [undefined];
  const sound = references.every((item) => item === null || isReference(item));
  if (!sound || typeof attributes !== 'object' || !isTolerance(tolerance)) {
    throw invalid(file, `case '${name}' needs operands, attributes, results and tolerance`);
  }
}

function isReference(item: Partial<TensorReference> | undefined): boolean {
  return (
    item !== undefined &&
    typeof item.tensor === 'string' &&
    isDType(String(item.dtype)) &&
    Array.isArray(item.shape) &&
    item.shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0)
  );
}

function isTolerance(tolerance: unknown): boolean {
  if (tolerance === 'bits') return true;
  const bounds = Object.entries(tolerance ?? {});
  return bounds.length === 1 && bounds.every(([key, bound]) => /^(ulp|snr_db)$/.test(key) && bound >= 0);
}

async function readJson(read: ReadVectorFile, name: string, signal?: AbortSignal): Promise<object> {
  const bytes = await read(name, signal);
  let json: { readonly format?: unknown } | undefined;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw invalid(name, `it is not JSON: ${(cause as Error).message}`, cause);
  }
  if (json?.format !== formatVersion) throw invalid(name, `its format is ${json?.format}, expected ${formatVersion}`);
  return json;
}

function invalid(file: string, problem: string, cause?: unknown): QuaverError {
  return new QuaverError('vectors-invalid', `${file}: ${problem}`, {
    hint: 'packages/conformance/VECTORS.md describes the files.',
    where: { file },
    cause,
  });
}
