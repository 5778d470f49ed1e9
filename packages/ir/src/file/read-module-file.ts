/** @file Node only: modules in files. */
import { createHash } from 'node:crypto';
import { QuaverError } from '@quaver/numerics';
import type { Module, TensorData } from '../module.ts';
import { copyTensor, type TensorProgress } from './copy-tensor.ts';
import type { DecodeOptions, HeaderInfo } from './decode.ts';
import { externalTensor } from './external-tensor.ts';
import { openFileSource } from './file-source.ts';
import { openModule } from './open-module.ts';
import type { StoredSegment } from './segments.ts';

/**
 * A module over an open file: a plain module in every respect, whose tensors are read by range until it is closed.
 */
export interface ModuleFile extends Module, AsyncDisposable {
  readonly path: string;
  readonly info: HeaderInfo;
  /**
   * Reads every tensor and attachment and compares its sha256 with the stored one, also in external files.
   * @throws QuaverError `module-digest`, `external-…`, `file-…`
   */
  verifyData(options?: VerifyDataOptions): Promise<VerifiedData>;
  close(): Promise<void>;
}

export interface VerifyDataOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: TensorProgress) => void;
}

/** How much was compared; segments without a stored digest count as unchecked. */
export interface VerifiedData {
  readonly checked: number;
  readonly unchecked: number;
  readonly bytes: number;
}

export type ReadModuleFileOptions = Omit<DecodeOptions, 'external'> & { readonly signal?: AbortSignal };

/**
 * Opens a .qvr file, reads and verifies its header. Close the result, or hold it with `await using`.
 * @throws QuaverError `file-…`, `module-…`, `verify-…`, `op-unknown`
 */
export async function readModuleFile(path: string, options: ReadModuleFileOptions = {}): Promise<ModuleFile> {
  const source = await openFileSource(path);
  try {
    const { module, info } = await openModule(source, {
      ...options,
      external: (reference, byteLength, type) => externalTensor(path, reference, byteLength, type),
    });
    const close = () => source.close();
    const verifyData = (verify: VerifyDataOptions = {}) => verifyDigests(module, info, path, verify);
    return { ...module, path, info, verifyData, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await source.close();
    throw error;
  }
}

interface Digested {
  readonly name: string;
  readonly data: TensorData;
  readonly expected: string | undefined;
}

/** Every tensor and attachment with data, each shared one once, with the digest that its module stores. */
function digestedData(module: Module, info: HeaderInfo): Digested[] {
  const bySegment = new Map<TensorData, StoredSegment>(info.segments.map((segment) => [segment.data, segment]));
  const named = [
    ...module.parameters.flatMap(({ name, data }) => (data ? [[name, data] as const] : [])),
    ...module.attachments,
  ];
  const unique = new Map(named.map(([name, data]) => [data, name]));
  return [...unique].map(([data, name]) => {
    const sha256 = bySegment.get(data)?.sha256;
    return { name, data, expected: data.external?.sha256 ?? (sha256 && toHex(sha256)) };
  });
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function verifyDigests(
  module: Module,
  info: HeaderInfo,
  path: string,
  { signal, onProgress }: VerifyDataOptions,
): Promise<VerifiedData> {
  const items = digestedData(module, info);
  const totalBytes = items.reduce((sum, { data }) => sum + data.byteLength, 0);
  let bytes = 0;
  let unchecked = 0;
  for (const { name, data, expected } of items) {
    if (expected === undefined) {
      unchecked++;
      continue;
    }
    const hash = createHash('sha256');
    await copyTensor(name, data, signal, async (chunk) => {
      hash.update(chunk);
      bytes += chunk.byteLength;
      onProgress?.({ kind: 'verify', tensor: name, bytes, totalBytes });
    });
    const found = hash.digest('hex');
    if (found !== expected.toLowerCase()) throw digestMismatch(path, name, data, expected, found);
  }
  return { checked: items.length - unchecked, unchecked, bytes };
}

function digestMismatch(path: string, name: string, data: TensorData, expected: string, found: string): QuaverError {
  const file = data.external?.uri ?? path;
  return new QuaverError(
    'module-digest',
    `${file}: the bytes of '${name}' have sha256 ${found}, expected ${expected}`,
    {
      hint: 'The file was damaged or its weights were exchanged: write or download it again.',
      where: { file, tensor: name },
    },
  );
}
