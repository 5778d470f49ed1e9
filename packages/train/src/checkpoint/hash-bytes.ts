/** @file SHA-256 over bytes of any length, a piece at a time. */
import { createHash, type Hash } from 'node:crypto';
import type { TensorToWrite } from '@quaver/formats';

/** One call of the hash takes less than 2 GiB. */
const pieceBytes = 64 << 20;

export function hashBytes(hash: Hash, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) hash.update(bytes.subarray(at, at + pieceBytes));
}

/**
 * SHA-256 over the bytes of all parameters in the order of their names (as UTF-8), in hexadecimal. Names, types and shapes are not in
 * it. One tensor is in memory at a time.
 * @throws whatever `read` throws
 */
export async function parametersSha256(tensors: Iterable<Pick<TensorToWrite, 'name' | 'read'>>): Promise<string> {
  const inOrder = [...tensors]
    .map((tensor) => ({ tensor, key: Buffer.from(tensor.name, 'utf8') }))
    .sort((a, b) => Buffer.compare(a.key, b.key));
  const hash = createHash('sha256');
  for (const { tensor } of inOrder) hashBytes(hash, await tensor.read());
  return hash.digest('hex');
}
