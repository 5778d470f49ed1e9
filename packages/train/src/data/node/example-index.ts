import type { Place } from '../example.ts';

export interface IndexedExample {
  /** Byte of the file. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** 1-based. */
  readonly line: number;
  /** Of text: first and last part of its document. */
  readonly begins: boolean;
  readonly ends: boolean;
}

const beginsFlag = 1;
const endsFlag = 2;

/** Plain data, which can be sent to another thread: 17 bytes per example. */
export interface IndexColumns {
  /** Path, and number of its first example. */
  readonly files: readonly { readonly path: string; readonly first: number }[];
  readonly count: number;
  readonly offsets: Float64Array;
  readonly lengths: Uint32Array;
  readonly lines: Uint32Array;
  readonly flags: Uint8Array;
}

/** Where the examples of some files are. */
export class ExampleIndex {
  readonly #files: { readonly path: string; readonly first: number }[] = [];
  #count = 0;
  #offsets = new Float64Array(1024);
  #lengths = new Uint32Array(1024);
  #lines = new Uint32Array(1024);
  #flags = new Uint8Array(1024);

  static from(columns: IndexColumns): ExampleIndex {
    const index = new ExampleIndex();
    index.#files.push(...columns.files);
    index.#count = columns.count;
    index.#offsets = columns.offsets as Float64Array<ArrayBuffer>;
    index.#lengths = columns.lengths as Uint32Array<ArrayBuffer>;
    index.#lines = columns.lines as Uint32Array<ArrayBuffer>;
    index.#flags = columns.flags as Uint8Array<ArrayBuffer>;
    return index;
  }

  get columns(): IndexColumns {
    const count = this.#count;
    return {
      files: this.#files,
      count,
      offsets: this.#offsets.slice(0, count),
      lengths: this.#lengths.slice(0, count),
      lines: this.#lines.slice(0, count),
      flags: this.#flags.slice(0, count),
    };
  }

  get count(): number {
    return this.#count;
  }

  /** Examples that are added from now on are in this file. */
  addFile(path: string): void {
    this.#files.push({ path, first: this.#count });
  }

  add({ offset, length, line, begins, ends }: IndexedExample): void {
    if (this.#count === this.#offsets.length) this.#grow();
    const at = this.#count++;
    this.#offsets[at] = offset;
    this.#lengths[at] = length;
    this.#lines[at] = line;
    this.#flags[at] = (begins ? beginsFlag : 0) | (ends ? endsFlag : 0);
  }

  /** Number of the file that an example is in. */
  fileOf(example: number): number {
    return this.#files.findLastIndex(({ first }) => first <= example);
  }

  place(example: number): Place {
    return { file: this.#files[this.fileOf(example)]!.path, line: this.#lines[example]! };
  }

  at(example: number): IndexedExample {
    const flags = this.#flags[example]!;
    return {
      offset: this.#offsets[example]!,
      length: this.#lengths[example]!,
      line: this.#lines[example]!,
      begins: (flags & beginsFlag) !== 0,
      ends: (flags & endsFlag) !== 0,
    };
  }

  #grow(): void {
    const length = this.#offsets.length * 2;
    const grown = <T extends { set(from: T): void }>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.#offsets = grown(new Float64Array(length), this.#offsets);
    this.#lengths = grown(new Uint32Array(length), this.#lengths);
    this.#lines = grown(new Uint32Array(length), this.#lines);
    this.#flags = grown(new Uint8Array(length), this.#flags);
  }
}
