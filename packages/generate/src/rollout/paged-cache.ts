import {
  type Dim,
  FunctionRewriter,
  type GraphFunction,
  type Module,
  type Node,
  type SymbolicDim,
  type TensorType,
  updatedNames,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

export interface PagedCacheOptions {
  /** Tokens of a page: a multiple of 16. Default 16. */
  readonly pageTokens?: number | undefined;
}

/** The functions that generate, of which a module may have some. */
const generation = new Set(['prefill', 'decode', 'score']);

/** Where attention has keys, values and their scales; and where it takes pages. */
const cacheOperands = [1, 2, 4, 5];
const pagesOperand = 7;

const [pageCount, tablePages, pagesInput] = ['P', 'N', 'pages'] as const;

/**
 * A module whose functions of generation keep keys and values in pages: a cache [B,C,...] becomes [P,pageTokens,...], and every
 * function gets an input `pages` i32[B,N] with the pages of each row in order; -1 is none. Parameters and the other functions
 * are shared with the module. It may be compiled already or not.
 * @throws QuaverError `page-tokens-invalid`, `paged-cache-missing`, `paged-cache-use`, `paged-cache-symbol`, `rewrite-name`
 */
export function pagedCache(module: Module, { pageTokens = 16 }: PagedCacheOptions = {}): Module {
  checkPageTokens(pageTokens);
  const caches = new Map<string, TensorType>();
  const functions = module.functions.map((fn) =>
    generation.has(fn.name) ? new FunctionPager(fn, pageTokens).run(caches) : fn,
  );
  if (caches.size === 0) {
    throw new QuaverError('paged-cache-missing', `module '${module.name}' has no KV cache to put into pages`, {
      hint: `A cache is a state [B,C,...] that ${[...generation].join(', ')} write with dynamic_update_slice and read with attention.`,
      where: { module: module.name },
    });
  }
  for (const fn of functions) checkOtherUses(fn, caches);
  return {
    ...module,
    symbols: [...module.symbols, ...newSymbols(module, caches, pageTokens)],
    states: module.states.map((state) =>
      caches.has(state.name) ? { ...state, type: pagedType(state.type, pageTokens) } : state,
    ),
    functions,
  };
}

class FunctionPager {
  readonly #fn: GraphFunction;
  readonly #pageTokens: number;
  readonly #writes: ReadonlyMap<Value, Node>;

  constructor(fn: GraphFunction, pageTokens: number) {
    this.#fn = fn;
    this.#pageTokens = pageTokens;
    this.#writes = cacheWrites(fn);
  }

  /** Adds the caches of the function with their old types to `caches`. */
  run(caches: Map<string, TensorType>): GraphFunction {
    if (this.#writes.size === 0) return this.#fn;
    const rewriter = new FunctionRewriter(this.#fn);
    for (const { operands } of this.#writes.values()) {
      const state = operands[0]!;
      caches.set(state.ref!, state.type);
      rewriter.retype(state, pagedType(state.type, this.#pageTokens));
    }
    const [first] = this.#writes.keys();
    const pages = rewriter.input(pagesInput, { dtype: 'i32', shape: [first!.type.shape[0]!, tablePages] });
    for (const node of this.#fn.nodes) this.#rewrite(node, pages, rewriter);
    return rewriter.finish();
  }

  #rewrite(node: Node, pages: Value, rewriter: FunctionRewriter): void {
    const [result] = node.results;
    if (this.#writes.has(result!)) {
      const [cache, update, position] = node.operands;
      rewriter.drop(node);
      rewriter.replace(result!, rewriter.op('paged_update', [cache, update, pages, position], {}, node));
    } else if (this.#readsCaches(node)) {
      const operands = Array.from({ length: pagesOperand }, (_, i) => node.operands[i]);
      rewriter.drop(node);
      rewriter.replace(result!, rewriter.op('attention', [...operands, pages], node.attributes, node));
    } else rewriter.keep(node);
  }

  #readsCaches(node: Node): boolean {
    if (!isCore(node, 'attention')) return false;
    const operands = cacheOperands.map((i) => node.operands[i]).filter((value) => value !== undefined);
    const cached = operands.filter((value) => this.#writes.has(value));
    if (cached.length > 0 && cached.length < operands.length) {
      throw useError(
        this.#fn,
        cached[0]!,
        `attention at '${node.location}' has only some of its operands from a cache`,
      );
    }
    return cached.length > 0;
  }
}

/** By its result, every write of new tokens into a cache that attention reads. */
function cacheWrites(fn: GraphFunction): Map<Value, Node> {
  const read = new Set(
    fn.nodes.filter((node) => isCore(node, 'attention')).flatMap((node) => cacheOperands.map((i) => node.operands[i])),
  );
  const writes = fn.nodes.filter(
    (node) =>
      isCore(node, 'dynamic_update_slice') &&
      node.attributes.axis === 1 &&
      node.operands[0]!.kind === 'state' &&
      read.has(node.results[0]!),
  );
  for (const write of writes) checkUses(fn, write);
  return new Map(writes.map((write) => [write.results[0]!, write]));
}

/** @throws QuaverError `paged-cache-use` unless the old contents are written alone, and the new ones go to attention and back */
function checkUses(fn: GraphFunction, write: Node): void {
  const [state] = write.operands as readonly [Value];
  const [written] = write.results as readonly [Value];
  for (const node of fn.nodes) {
    const isRead = node.operands.some(
      (value, i) =>
        (value === state && !(node === write && i === 0)) ||
        (value === written && !(isCore(node, 'attention') && cacheOperands.includes(i))),
    );
    if (isRead) throw useError(fn, state, `${node.op} at '${node.location}' reads it`);
  }
  const isCache = (value: Value) => value === state || value === written;
  const output = fn.outputs.find(({ value }) => isCache(value));
  if (output) throw useError(fn, state, `it is the output '${output.name}'`);
  for (const { target, name, value } of fn.updates) {
    const isOwn = target === 'state' && name === state.ref;
    if (isOwn !== isCache(value)) throw useError(fn, state, `it is no update of its own, or updates '${name}'`);
  }
}

/** @throws QuaverError `paged-cache-use` where a function has a cache of the map in its old form */
function checkOtherUses(fn: GraphFunction, caches: ReadonlyMap<string, TensorType>): void {
  for (const value of fn.states) {
    if (caches.has(value.ref!) && value.type.shape[0] !== pageCount) {
      throw useError(fn, value, 'it is no cache of this function');
    }
  }
  const read = new Set(fn.states.map(({ ref }) => ref));
  for (const name of updatedNames(fn, 'state')) {
    if (caches.has(name) && !read.has(name)) throw useError(fn, { ref: name }, 'it is replaced as a whole');
  }
}

function useError(fn: GraphFunction, cache: Pick<Value, 'ref'>, why: string): QuaverError {
  return new QuaverError('paged-cache-use', `function '${fn.name}' cannot have '${cache.ref}' in pages: ${why}`, {
    hint: 'A cache is written by one dynamic_update_slice along axis 1, read by attention alone, and stored again.',
    where: { function: fn.name, ...(cache.ref === undefined ? {} : { state: cache.ref }) },
  });
}

function pagedType({ dtype, shape }: TensorType, pageTokens: number): TensorType {
  return { dtype, shape: [pageCount, pageTokens, ...shape.slice(2)] };
}

/** P pages, N pages of one row: as many as its old cache had room for. */
function newSymbols(module: Module, caches: ReadonlyMap<string, TensorType>, pageTokens: number): SymbolicDim[] {
  for (const name of [pageCount, tablePages]) {
    if (!module.symbols.some((symbol) => symbol.name === name)) continue;
    throw new QuaverError('paged-cache-symbol', `module '${module.name}' has a symbol ${name} already`, {
      hint: 'P and N are the pages of the cache and of a row; give its own symbols other names.',
      where: { module: module.name, symbol: name },
    });
  }
  const most = (dim: Dim) =>
    typeof dim === 'number' ? dim : (module.symbols.find(({ name }) => name === dim)?.max ?? Number.POSITIVE_INFINITY);
  const capacity = Math.max(...Array.from(caches.values(), ({ shape }) => most(shape[1]!)));
  return [
    { name: pageCount, min: 1, max: Number.POSITIVE_INFINITY, multiple: 1 },
    { name: tablePages, min: 1, max: Math.ceil(capacity / pageTokens), multiple: 1 },
  ];
}

function checkPageTokens(pageTokens: number): void {
  if (Number.isInteger(pageTokens) && pageTokens > 0 && pageTokens % 16 === 0) return;
  throw new QuaverError('page-tokens-invalid', `pages of ${pageTokens} tokens`, {
    hint: 'Give a positive multiple of 16, such as 16 or 64.',
  });
}

function isCore({ domain, op }: Node, name: string): boolean {
  return domain === 'core' && op === name;
}
