import { QuaverError } from '@quaver/numerics';

const alignment = 64;
const pageBytes = 65536;

interface Block {
  readonly start: number;
  readonly size: number;
}

/**
 * Allocates 64-byte-aligned blocks of the kernels' memory: first fit over a sorted free list, neighbours merged, memory
 * grown when nothing fits. Blocks are few (one per tensor), so a list is enough.
 */
export class WasmHeap {
  readonly #memory: WebAssembly.Memory;
  readonly #sizes = new Map<number, number>();
  #free: Block[] = [];
  #end: number;
  #bytes: Uint8Array;

  /** @param base the first byte that the module does not use for itself */
  constructor(memory: WebAssembly.Memory, base: number) {
    this.#memory = memory;
    this.#end = Math.ceil(base / alignment) * alignment;
    this.#bytes = new Uint8Array(memory.buffer);
  }

  /** All memory as bytes. Take it anew after an allocation: growing detaches older views. */
  get bytes(): Uint8Array {
    if (this.#bytes.buffer !== this.#memory.buffer) this.#bytes = new Uint8Array(this.#memory.buffer);
    return this.#bytes;
  }

  /** A view of `byteLength` bytes at `pointer`; valid until the next allocation. */
  view(pointer: number, byteLength: number): Uint8Array {
    return this.bytes.subarray(pointer, pointer + byteLength);
  }

  /**
   * @returns the offset of `byteLength` bytes, not cleared
   * @throws QuaverError `executor-out-of-memory`
   */
  allocate(byteLength: number): number {
    const size = Math.max(alignment, Math.ceil(byteLength / alignment) * alignment);
    const index = this.#free.findIndex((block) => block.size >= size);
    if (index >= 0) {
      const { start, size: available } = this.#free[index]!;
      if (available === size) this.#free.splice(index, 1);
      else this.#free[index] = { start: start + size, size: available - size };
      this.#sizes.set(start, size);
      return start;
    }
    // A free block at the end of memory is made larger instead of left behind as a hole.
    const tail = this.#free.at(-1);
    const extended = tail !== undefined && tail.start + tail.size === this.#end;
    const start = extended ? tail.start : this.#end;
    try {
      this.#reserve(start + size);
    } catch (cause) {
      throw new QuaverError('executor-out-of-memory', `the CPU executor cannot get ${byteLength} more bytes`, {
        hint: 'WebAssembly memory ends at 4 GiB: use a smaller model, context or batch.',
        cause,
      });
    }
    if (extended) this.#free.pop();
    this.#end = start + size;
    this.#sizes.set(start, size);
    return start;
  }

  release(pointer: number): void {
    const size = this.#sizes.get(pointer);
    if (size === undefined) return;
    this.#sizes.delete(pointer);
    const blocks = [...this.#free, { start: pointer, size }].sort((a, b) => a.start - b.start);
    this.#free = blocks.reduce<Block[]>((merged, block) => {
      const last = merged.at(-1);
      if (last && last.start + last.size === block.start) {
        merged[merged.length - 1] = { start: last.start, size: last.size + block.size };
      } else merged.push(block);
      return merged;
    }, []);
  }

  /** Grows the memory so that bytes [0, end) exist. */
  #reserve(end: number): void {
    const missing = end - this.#memory.buffer.byteLength;
    // Not a number is refused by `grow`.
    if (!(missing <= 0)) this.#memory.grow(Math.ceil(missing / pageBytes));
  }
}
