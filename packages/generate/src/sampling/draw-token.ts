/**
 * @file Draws one token of a row by its probability, within min-p, top-k and top-p.
 *
 * A vocabulary is large and a decode step short, so nothing here takes the exponential of every logit or sorts them all:
 * tokens are put into bins by their distance from the highest logit, and bins are opened, the likeliest first, until it is
 * certain where the draw falls. What is in the closed bins is known within bounds that only decide when to stop.
 */
import { exp32 } from '@quaver/numerics';

/** Which tokens may be drawn; see `SamplingOptions`. */
export interface DrawOptions {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
}

/** @param draw in [0, 1) @param maximum the highest logit */
export function drawToken(row: Float32Array, maximum: number, options: DrawOptions, draw: number): number {
  const bins = new Bins(row, maximum, options);
  const { topK, topP } = options;
  if (topK > 0) {
    while (bins.opened < topK && bins.open());
    bins.keep(topK);
  }
  if (topP < 1) bins.keep(1 + bins.find((sum, total) => sum >= topP * total));
  return bins.tokens[bins.find((sum, total) => sum > draw * total)]!;
}

/** Bins are 1/8 wide in logits over temperature; `exp32` is 0 beyond a distance of 87.4. */
const binsPerUnit = 8;
const binCount = 88 * binsPerUnit;
/** Room in the bounds for the rounding of distances and of whoever computes exponentials. */
const margin = 2e-5;
const edgeWeight = Float64Array.from({ length: binCount + 1 }, (_, bin) => Math.exp(-bin / binsPerUnit));

// Kept from call to call: the length of a vocabulary seldom changes.
let binOf = new Uint16Array();
let sorted = new Uint32Array();
const starts = new Uint32Array(binCount + 1);
/** Σ of the distances in a bin, in widths of a bin. */
const distances = new Float64Array(binCount);

/** Tokens by rank: highest logit first, equal ones by id. Only the opened ones are in order and have a weight. */
class Bins {
  /** By rank. Those that were opened can be read. */
  readonly tokens: number[] = [];
  readonly #row: Float32Array;
  readonly #maximum: number;
  readonly #options: DrawOptions;
  /** Σ of the weights up to and with each opened token; the likeliest token has weight 1. */
  readonly #sums: number[] = [];
  #next = 0;
  /** Bounds of what the closed bins weigh. */
  #least = 0;
  #most = 0;

  constructor(row: Float32Array, maximum: number, options: DrawOptions) {
    this.#row = row;
    this.#maximum = maximum;
    this.#options = options;
    sortIntoBins(row, maximum, options.temperature);
    for (let bin = 0; bin < binCount; bin++) this.#count(bin, 1);
  }

  get opened(): number {
    return this.tokens.length;
  }

  /** Opens the next bin; false when there is none left. */
  open(): boolean {
    if (this.#next === binCount) return false;
    const bin = this.#next++;
    const members = sorted.subarray(starts[bin]!, starts[bin + 1]!);
    this.#count(bin, -1);
    for (const token of byRank(this.#row, members)) this.#add(token);
    return true;
  }

  /** Leaves only the first `count` tokens. */
  keep(count: number): void {
    while (this.opened < count && this.open());
    this.tokens.length = Math.min(count, this.tokens.length);
    this.#sums.length = this.tokens.length;
    this.#next = binCount;
    this.#least = 0;
    this.#most = 0;
  }

  /**
   * The rank of the first token for which `reaches` holds of the sum up to it and the total; the last token when rounding
   * leaves none. Opens bins until the answer is the same for all totals within the bounds.
   */
  find(reaches: (sum: number, total: number) => boolean): number {
    for (;;) {
      const opened = this.#sums.at(-1) ?? 0;
      const complete = this.#next === binCount;
      // With every bin open the sum is the total; what is left in the bounds is rounding.
      const most = complete ? opened : opened + Math.max(0, this.#most);
      const first = this.#search((sum) => reaches(sum, most));
      if (complete) return Math.min(first, this.opened - 1);
      if (first < this.opened && first === this.#search((sum) => reaches(sum, opened + Math.max(0, this.#least)))) {
        return first;
      }
      this.open();
    }
  }

  /**
   * Adds a bin to the bounds, or takes it away. The exponential is convex: over a bin its sum is at least that of all tokens at
   * their mean distance, and at most that of tokens shared out to the two edges with the same mean.
   */
  #count(bin: number, sign: 1 | -1): void {
    const count = starts[bin + 1]! - starts[bin]!;
    if (count === 0) return;
    const mean = Math.min(bin + 1, Math.max(bin, distances[bin]! / count));
    const [near, far] = [edgeWeight[bin]!, edgeWeight[bin + 1]!];
    this.#most += sign * count * (near + (far - near) * (mean - bin)) * (1 + margin);
    // With min-p, or where weights end in zeros, nothing is surely in a bin until it was opened.
    const sure = this.#options.minP === 0 && bin < binCount - 2 * binsPerUnit;
    if (sure) this.#least += sign * count * Math.exp(-mean / binsPerUnit) * (1 - margin);
  }

  /** The first opened rank whose sum passes; sums grow. */
  #search(passes: (sum: number) => boolean): number {
    let low = 0;
    let high = this.opened;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (passes(this.#sums[middle]!)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #add(token: number): void {
    const { temperature, minP } = this.#options;
    // exp32 and not Math.exp: the platform's may differ by an ULP, and a draw must not depend on the platform.
    const weight = exp32(Math.fround((this.#row[token]! - this.#maximum) / temperature));
    if (weight === 0 || weight < minP) return;
    this.tokens.push(token);
    this.#sums.push((this.#sums.at(-1) ?? 0) + weight);
  }
}

/** Counting sort of the tokens by bin, by id within one. */
function sortIntoBins(row: Float32Array, maximum: number, temperature: number): void {
  if (binOf.length !== row.length) {
    binOf = new Uint16Array(row.length);
    sorted = new Uint32Array(row.length);
  }
  const scale = binsPerUnit / temperature;
  starts.fill(0);
  distances.fill(0);
  for (let token = 0; token < row.length; token++) {
    // Rounding may put a token into the neighbouring bin, but never before a likelier one.
    const distance = (maximum - row[token]!) * scale;
    const bin = distance < binCount - 1 ? distance | 0 : binCount - 1;
    binOf[token] = bin;
    distances[bin]! += distance;
    starts[bin + 1]!++;
  }
  for (let bin = 0; bin < binCount; bin++) starts[bin + 1]! += starts[bin]!;
  for (let token = row.length - 1; token >= 0; token--) sorted[--starts[binOf[token]! + 1]!] = token;
  // Every start was moved down to where its bin begins: shift them back by one bin.
  starts.copyWithin(0, 1);
  starts[binCount] = row.length;
}

/** Vocabularies are smaller: a token and the bits of its logit fit into the 53 bits of an exact integer. */
const tokenLimit = 2 ** 21;
const bitsOf = new Uint32Array(1);
const floatOf = new Float32Array(bitsOf.buffer);
let keys = new Float64Array();

/** Sorts tokens in place: as numbers, because calls of a comparison take many times as long. */
function byRank(row: Float32Array, tokens: Uint32Array): Uint32Array {
  if (tokens.length < 2) return tokens;
  if (keys.length < tokens.length) keys = new Float64Array(row.length);
  const used = keys.subarray(0, tokens.length);
  for (let i = 0; i < tokens.length; i++) used[i] = descending(row[tokens[i]!]!) * tokenLimit + tokens[i]!;
  used.sort();
  // Bitwise operations take the lower 32 bits of an integer, exactly.
  for (let i = 0; i < tokens.length; i++) tokens[i] = used[i]! & (tokenLimit - 1);
  return tokens;
}

/** An integer below 2^32, the smaller the higher the value; the same for both zeros. */
function descending(value: number): number {
  floatOf[0] = value + 0;
  const bits = bitsOf[0]!;
  return bits < 0x80000000 ? 0x7fffffff - bits : bits;
}
