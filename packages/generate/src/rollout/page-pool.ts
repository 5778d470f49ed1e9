import { QuaverError } from '@quaver/numerics';

/** Which pages of the KV cache are used, and by how many. Pages are numbers from 0; their contents are the executor's. */
export class PagePool {
  readonly size: number;
  /** Pages that nobody uses, as a stack. */
  readonly #free: Int32Array;
  readonly #users: Int32Array;
  #freeCount: number;
  #mostUsed = 0;

  constructor(size: number) {
    this.size = size;
    this.#free = Int32Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#users = new Int32Array(size);
    this.#freeCount = size;
  }

  get free(): number {
    return this.#freeCount;
  }

  get used(): number {
    return this.size - this.#freeCount;
  }

  /** The most pages that were used at once. */
  get mostUsed(): number {
    return this.#mostUsed;
  }

  /** A page that nobody uses, with one user. @throws QuaverError `page-pool-empty` */
  take(): number {
    if (this.#freeCount === 0) throw new QuaverError('page-pool-empty', `all ${this.size} pages are in use`);
    const page = this.#free[--this.#freeCount]!;
    this.#users[page] = 1;
    this.#mostUsed = Math.max(this.#mostUsed, this.used);
    return page;
  }

  /** One more user of a page in use. @throws QuaverError `page-not-used` */
  share(page: number): void {
    this.#assertUsed(page);
    this.#users[page]!++;
  }

  /** One user less; the page is free after the last. @throws QuaverError `page-not-used` */
  giveBack(page: number): void {
    this.#assertUsed(page);
    if (--this.#users[page]! === 0) this.#free[this.#freeCount++] = page;
  }

  #assertUsed(page: number): void {
    if ((this.#users[page] ?? 0) > 0) return;
    throw new QuaverError('page-not-used', `page ${page} of ${this.size} has no user`);
  }
}
