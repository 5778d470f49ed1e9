import { type BufferUsage, type DeviceBuffer, hostBytes } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import type { KernelFormat, Kernels } from './kernels.ts';
import type { WasmHeap } from './wasm-heap.ts';

/** Rows brought into WebAssembly memory at once while packing; a multiple of the kernels' panel. */
const packRows = 1024;

/**
 * Memory of the CPU executor. Parameters stay on the host until a program shows which form it needs them in: as they
 * are, or packed for the matrix kernels. Everything else lives in WebAssembly memory from the start.
 */
export class CpuBuffer implements DeviceBuffer {
  readonly byteLength: number;
  readonly usage: BufferUsage;
  readonly heap: WasmHeap;
  readonly #derived = new Map<string, number>();
  #host: Uint8Array | undefined;
  #pointer: number | undefined;
  #disposed = false;

  constructor(heap: WasmHeap, byteLength: number, usage: BufferUsage) {
    this.heap = heap;
    this.byteLength = byteLength;
    this.usage = usage;
    if (usage === 'parameter') this.#host = hostBytes(byteLength);
    else {
      this.#pointer = heap.allocate(byteLength);
      heap.view(this.#pointer, byteLength).fill(0);
    }
  }

  write(bytes: Uint8Array): void {
    this.#alive();
    this.#host?.set(bytes);
    if (this.#pointer !== undefined) this.heap.view(this.#pointer, this.byteLength).set(bytes);
    for (const pointer of this.#derived.values()) this.heap.release(pointer);
    this.#derived.clear();
  }

  read(): Uint8Array {
    this.#alive();
    return (this.#host ?? this.heap.view(this.#pointer!, this.byteLength)).slice();
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  /** The bytes as they are on the host; only parameters have them there. */
  get hostBytes(): Uint8Array | undefined {
    return this.#host;
  }

  /** Offset of the bytes, unpacked, in WebAssembly memory. */
  pointer(): number {
    this.#alive();
    if (this.#pointer === undefined) {
      this.#pointer = this.heap.allocate(this.byteLength);
      this.heap.view(this.#pointer, this.byteLength).set(this.#host!);
    }
    return this.#pointer;
  }

  /** Offset of the weights w[n, k] packed for the matrix kernels; packed once. */
  packed(kernels: Kernels, format: KernelFormat, n: number, k: number): number {
    this.#alive();
    return this.derived(`packed/${format}/${n}/${k}`, kernels.packedBytes(format, n, k), (target) =>
      packFrom(kernels, this.heap, this.#host ?? this.read(), target, format, n, k),
    );
  }

  /** Offset of another form of the bytes, made by `make` once and again after a write. */
  derived(form: string, byteLength: number, make: (pointer: number) => void): number {
    this.#alive();
    const known = this.#derived.get(form);
    if (known !== undefined) return known;
    const pointer = this.heap.allocate(byteLength);
    try {
      make(pointer);
    } catch (error) {
      this.heap.release(pointer);
      throw error;
    }
    this.#derived.set(form, pointer);
    return pointer;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#pointer !== undefined) this.heap.release(this.#pointer);
    for (const pointer of this.#derived.values()) this.heap.release(pointer);
    this.#derived.clear();
    this.#host = undefined;
  }

  #alive(): void {
    if (this.#disposed) throw new QuaverError('buffer-disposed', `a ${this.usage} buffer is used after dispose()`);
  }
}

/** Packs a slice of rows at a time, so that the unpacked matrix is never whole in WebAssembly memory. */
function packFrom(
  kernels: Kernels,
  heap: WasmHeap,
  bytes: Uint8Array,
  target: number,
  format: KernelFormat,
  n: number,
  k: number,
): void {
  const rowBytes = n === 0 ? 0 : bytes.byteLength / n;
  const slice = heap.allocate(Math.min(packRows, n) * rowBytes);
  try {
    for (let row = 0; row < n; row += packRows) {
      const rows = Math.min(packRows, n - row);
      heap.view(slice, rows * rowBytes).set(bytes.subarray(row * rowBytes, (row + rows) * rowBytes));
      kernels.packWeights(format, slice, target, k, row, rows);
    }
  } finally {
    heap.release(slice);
  }
}
