/** @file The part of the semantic verifier that judges types, dimensions and names, with what all its parts share. */
import { QuaverError } from '@quaver/numerics';
import { type Dim, dimSymbols, parseDim } from './dim.ts';
import { dtypeBytes, isDType } from './dtype.ts';
import type { Module, SymbolicDim } from './module.ts';
import { formatType, type TensorType } from './type.ts';

/** Ranks above this are refused: no executor has them, and they would make hostile files expensive. */
export const MAX_RANK = 16;

/** Where in a module something is wrong. */
export interface Place {
  readonly function?: string;
  readonly node?: number;
  readonly op?: string;
  readonly location?: string;
  readonly value?: string;
}

/** Throws `code`, with a message that starts with the place. */
export function refuse(code: string, place: Place, problem: string, hint?: string, cause?: unknown): never {
  const op = place.op === undefined ? '' : ` (${place.op}${place.location ? ` at ${place.location}` : ''})`;
  const parts = [
    place.function === undefined ? 'module' : `function ${place.function}`,
    ...(place.node === undefined ? [] : [`node ${place.node}${op}`]),
    ...(place.value === undefined ? [] : [`value %${place.value}`]),
  ];
  throw new QuaverError(code, `${parts.join(', ')}: ${problem}`, {
    ...(hint === undefined ? {} : { hint }),
    where: { ...place },
    cause,
  });
}

/** Adds `name` to `names`, refusing a second one. */
export function addUnique(names: Set<string>, name: string, what: string, place: Place): void {
  if (names.has(name)) refuse('verify-duplicate-name', place, `the ${what} '${name}' exists twice`);
  names.add(name);
}

/** Checks dtypes, dimensions and sizes against a module's symbols; remembers what it has already accepted. */
export class TypeVerifier {
  readonly symbols: ReadonlyMap<string, SymbolicDim>;
  readonly #types = new Set<TensorType>();
  readonly #dims = new Set<Dim>();

  constructor(module: Module) {
    this.symbols = new Map(module.symbols.map((symbol) => [symbol.name, symbol]));
  }

  type(type: TensorType, place: Place): void {
    if (this.#types.has(type)) return;
    if (!isDType(type.dtype)) refuse('verify-type', place, `unknown dtype '${String(type.dtype)}'`);
    if (type.shape.length > MAX_RANK) {
      refuse('verify-type', place, `rank ${type.shape.length} is above the limit of ${MAX_RANK}`);
    }
    for (const dim of type.shape) this.dim(dim, place);
    this.#size(type, place);
    this.#types.add(type);
  }

  dim(dim: Dim, place: Place): void {
    if (this.#dims.has(dim)) return;
    if (canonical(dim) !== dim) {
      refuse('verify-dim', place, `'${String(dim).slice(0, 80)}' is not a dimension in canonical form`);
    }
    for (const name of dimSymbols(dim)) {
      if (!this.symbols.has(name)) {
        refuse(
          'verify-symbol',
          place,
          `the dimension '${dim}' mentions the undeclared symbol ${name}`,
          `Declare ${name}.`,
        );
      }
    }
    this.#dims.add(dim);
  }

  /** The static part of a tensor's byte count must be exact in a JavaScript number. */
  #size(type: TensorType, place: Place): void {
    let bytes = BigInt(dtypeBytes[type.dtype]);
    for (const dim of type.shape) {
      const size = typeof dim === 'number' ? BigInt(dim) : BigInt(/^\d+(?=\*)/.exec(dim)?.[0] ?? 1);
      if (size > 0n) bytes *= size;
    }
    if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) {
      refuse('verify-size', place, `${formatType(type)} takes ${bytes} bytes, more than any address space`);
    }
  }
}

function canonical(dim: Dim): Dim | undefined {
  try {
    return parseDim(dim);
  } catch (error) {
    if (error instanceof QuaverError) return undefined;
    throw error;
  }
}
