import { QuaverError } from '@quaver/numerics';

/** Thrown when the bytes read so far end before the value does, but the file goes on. Never leaves the package. */
export class NeedMoreBytes {
  readonly atLeast: number;
  constructor(atLeast: number) {
    this.atLeast = atLeast;
  }
}

/**
 * Reads little-endian values from the first bytes of a file. Every length is checked against the size of the whole file
 * before anything is allocated for it, so a forged length costs nothing.
 */
export class Cursor {
  position = 0;
  readonly #file: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #fileSize: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(file: string, bytes: Uint8Array, fileSize: number) {
    this.#file = file;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fileSize = fileSize;
  }

  /** Moves over `length` bytes and returns where they start. */
  take(length: number, what: string): number {
    const start = this.position;
    const end = start + length;
    if (end > this.#fileSize) {
      throw this.error('gguf-truncated', `${what} needs ${length} bytes, the file ends at byte ${this.#fileSize}`);
    }
    if (end > this.#bytes.byteLength) throw new NeedMoreBytes(end);
    this.position = end;
    return start;
  }

  u32(what: string): number {
    return this.#view.getUint32(this.take(4, what), true);
  }

  u64(what: string): bigint {
    return this.#view.getBigUint64(this.take(8, what), true);
  }

  /** A 64-bit count of items that take at least `itemBytes` bytes each. */
  count(itemBytes: number, what: string): number {
    const start = this.position;
    const count = this.u64(what);
    if (count * BigInt(itemBytes) > BigInt(this.#fileSize - this.position)) {
      this.position = start;
      throw this.error('gguf-truncated', `${what} is ${count}, more than the rest of the file can hold`);
    }
    return Number(count);
  }

  /** A string: 64-bit length, then UTF-8. */
  string(what: string): string {
    const length = this.count(1, `the length of ${what}`);
    const start = this.take(length, what);
    if (length < 48) {
      const ascii = this.#ascii(start, length);
      if (ascii !== undefined) return ascii;
    }
    try {
      return this.#decoder.decode(this.#bytes.subarray(start, start + length));
    } catch (cause) {
      this.position = start;
      throw this.error('gguf-bad-utf8', `${what} is not valid UTF-8`, cause);
    }
  }

  /** A text decoder costs more than a short loop; most tokens are short and ASCII. */
  #ascii(start: number, length: number): string | undefined {
    let text = '';
    for (let i = start; i < start + length; i++) {
      const byte = this.#bytes[i]!;
      if (byte >= 0x80) return undefined;
      text += String.fromCharCode(byte);
    }
    return text;
  }

  /** A copy of the next `length` bytes, aligned for any typed array. */
  bytes(length: number, what: string): Uint8Array<ArrayBuffer> {
    const start = this.take(length, what);
    return new Uint8Array(this.#bytes.subarray(start, start + length)); // not slice(): a Buffer's would share memory
  }

  /** An error at the current position. */
  error(code: string, message: string, cause?: unknown): QuaverError {
    return new QuaverError(code, `${this.#file}: at byte ${this.position}, ${message}`, {
      where: { file: this.#file, byte: this.position },
      ...(code === 'gguf-truncated' && { hint: 'The file is damaged or incomplete: fetch it again.' }),
      cause,
    });
  }
}
