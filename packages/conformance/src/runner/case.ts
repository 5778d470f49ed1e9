import type { Executor, ExecutorOptions, ExecutorPlugin } from '@quaver/executor';

/** How an executor ran the op of a case. */
export type Via = 'kernel' | 'definition' | 'body';

export type Outcome =
  | { readonly status: 'passed'; readonly ulp: number; readonly via?: Via }
  | { readonly status: 'failed'; readonly reason: string; readonly ulp?: number | undefined; readonly via?: Via }
  /** `supports` refused a node, or a capability is not promised: allowed, and said. */
  | { readonly status: 'unsupported'; readonly reason: string };

/** What a case runs on. */
export interface CaseContext {
  readonly plugin: ExecutorPlugin;
  readonly options: ExecutorOptions;
  /** Shared by all cases; a case that ends an executor opens one of its own. */
  readonly executor: Executor;
  readonly signal: AbortSignal;
}

/** One thing that is tested. What `run` throws is a failure too. */
export interface ConformanceCase {
  /** `op/…` for vectors, `behaviour/…` for the rest; unique. */
  readonly name: string;
  /** Empty when the case is about no op in particular. */
  readonly op: string;
  /** Of the operands, or of the results where there are none. */
  readonly dtypes: readonly string[];
  readonly resultDTypes: readonly string[];
  run(context: CaseContext): Promise<Outcome>;
}
