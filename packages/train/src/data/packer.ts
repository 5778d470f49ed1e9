/**
 * @file Segments into rows. Two bounded buffers: open rows, into the first of which that has room a segment goes, and
 * a pool of closed rows, out of which one is drawn at random when there are too many: it mixes windows of one document,
 * which come one after another, with those of others.
 */
import type { Segment } from './cut-segments.ts';

export interface PackerOptions {
  /** T. */
  readonly rowTokens: number;
  /** Segments start at multiples of this. */
  readonly align: number;
  readonly openRows: number;
  /** 0: rows come in the order in which they close. */
  readonly poolRows: number;
  /** A number in [0, 1) for row `index` of the epoch. */
  readonly draw: (index: number) => number;
}

export type PackedRow = readonly Segment[];

interface OpenRow {
  readonly segments: Segment[];
  /** Where the next segment starts. */
  next: number;
}

export class Packer {
  readonly #options: PackerOptions;
  readonly #open: OpenRow[] = [];
  readonly #pool: PackedRow[] = [];
  #emitted = 0;

  constructor(options: PackerOptions) {
    this.#options = options;
  }

  /** Rows that were given out. */
  get emitted(): number {
    return this.#emitted;
  }

  /** The segments that wait here, row by row. */
  get waiting(): { readonly open: readonly PackedRow[]; readonly pool: readonly PackedRow[] } {
    return { open: this.#open.map(({ segments }) => segments), pool: [...this.#pool] };
  }

  /** A packer that goes on where another one was. False when the rows cannot be those of a packer with these options. */
  restore(
    waiting: { readonly open: readonly PackedRow[]; readonly pool: readonly PackedRow[] },
    emitted: number,
  ): boolean {
    this.#emitted = emitted;
    const fits = (row: PackedRow) => {
      const rebuilt: OpenRow = { segments: [], next: 0 };
      return row.length > 0 && row.every((segment) => this.#append(rebuilt, segment)) && rebuilt;
    };
    for (const row of waiting.pool) {
      if (!fits(row)) return false;
      this.#pool.push(row);
    }
    for (const row of waiting.open) {
      const rebuilt = fits(row);
      if (!rebuilt) return false;
      this.#open.push(rebuilt);
    }
    return this.#open.length <= this.#options.openRows;
  }

  /** Takes a segment; the row that leaves the pool for it, if one does. */
  push(segment: Segment): PackedRow | undefined {
    let row = this.#open.find((candidate) => this.#append(candidate, segment));
    if (!row) {
      row = { segments: [], next: 0 };
      this.#append(row, segment);
      this.#open.push(row);
    }
    if (row.next >= this.#options.rowTokens) this.#close(row);
    else if (this.#open.length > this.#options.openRows) {
      this.#close(this.#open.reduce((fullest, other) => (other.next > fullest.next ? other : fullest)));
    }
    return this.#pool.length > this.#options.poolRows ? this.#drawRow() : undefined;
  }

  /** All rows that wait, one after another. */
  *drain(): Generator<PackedRow, void, undefined> {
    while (this.#open.length > 0) this.#close(this.#open[0]!);
    while (this.#pool.length > 0) yield this.#drawRow();
  }

  #append(row: OpenRow, segment: Segment): boolean {
    const { rowTokens, align } = this.#options;
    const end = row.next + segment.tokens.length - 1;
    if (end > rowTokens) return false;
    row.segments.push(segment);
    row.next = Math.ceil(end / align) * align;
    return true;
  }

  #close(row: OpenRow): void {
    this.#open.splice(this.#open.indexOf(row), 1);
    this.#pool.push(row.segments);
  }

  #drawRow(): PackedRow {
    const index = this.#options.poolRows === 0 ? 0 : Math.floor(this.#options.draw(this.#emitted) * this.#pool.length);
    this.#emitted++;
    return this.#pool.splice(index, 1)[0]!;
  }
}
