import { coreOps, type Module, printModule, verifyModule } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { countNodes } from './graph/edit-module.ts';
import type { CompileProgress, CompileTarget, Pass, PassContext } from './pass.ts';
import { passes } from './passes/index.ts';
import type { Recipe } from './recipe/recipe.ts';
import { resolveRecipe } from './recipe/resolve-recipe.ts';
import { buildReport, type CompileReport, type PassRecord } from './report/report.ts';

export interface CompileOptions {
  /** The name of a built-in recipe, or a recipe. */
  readonly recipe: string | Recipe;
  /** Runs these passes only, in the usual order. */
  readonly only?: readonly string[] | undefined;
  /** Ends after the first run of this pass. */
  readonly stopAfter?: string | undefined;
  /** Leaves these passes out. */
  readonly disable?: readonly string[] | undefined;
  /** Receives the text form of the module after every pass; `passIndex` counts from 0 in the order that ran. */
  readonly dumpIr?: ((passIndex: number, passName: string, text: string, changed: boolean) => void) | undefined;
  /** Calls `dumpIr` only after passes that changed something. */
  readonly printChanged?: boolean | undefined;
  /** Makes a request for precision that could not be met an error. */
  readonly strict?: boolean | undefined;
  /** Verifies the module between all passes; on by default. */
  readonly verify?: boolean | undefined;
  readonly target?: CompileTarget | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: CompileProgress) => void) | undefined;
}

export interface CompileResult {
  readonly module: Module;
  readonly report: CompileReport;
}

/**
 * Lowers a module to a recipe, pass by pass.
 * @throws QuaverError `recipe-unknown`, `recipe-invalid`, `pass-unknown`, `module-already-lowered`, `node-unsupported` (with
 *   a target), `compile-not-lowered` (with `strict`), `verify-…` for a module that is not valid, `pass-invalid-module` when
 *   a pass made it so. An abort throws the signal's reason.
 */
export async function compile(module: Module, options: CompileOptions): Promise<CompileResult> {
  const context = makeContext(options);
  const selected = selectPasses(options);
  const records: PassRecord[] = [];
  let current = module;
  if (options.verify !== false) verifyModule(module);
  for (const [index, pass] of selected.entries()) {
    options.signal?.throwIfAborted();
    options.onProgress?.({ type: 'pass', name: pass.name, done: index, total: selected.length });
    const before = current;
    const start = performance.now();
    current = await pass.run(before, context);
    const ms = performance.now() - start;
    const changed = current !== before;
    if (changed && options.verify !== false) verifyAfter(pass, current);
    records.push({ name: pass.name, ms, nodes_before: countNodes(before), nodes_after: countNodes(current), changed });
    if (options.dumpIr && (changed || !options.printChanged))
      options.dumpIr(index, pass.name, printModule(current), changed);
  }
  options.onProgress?.({ type: 'pass', name: '', done: selected.length, total: selected.length });
  const report = buildReport(module, current, records, context);
  if (options.strict) refuseNotLowered(report);
  return { module: current, report };
}

function makeContext({ recipe, target, signal, onProgress }: CompileOptions): PassContext {
  return {
    recipe: resolveRecipe(recipe),
    registry: coreOps,
    target,
    signal,
    onProgress,
    weightStatistics: new Map(),
    assignments: [],
  };
}

function selectPasses({ only, disable = [], stopAfter }: CompileOptions): readonly Pass[] {
  const known = new Set(passes.map(({ name }) => name));
  for (const name of [...(only ?? []), ...disable, ...(stopAfter === undefined ? [] : [stopAfter])]) {
    if (known.has(name)) continue;
    throw new QuaverError('pass-unknown', `there is no pass named '${name}'`, {
      hint: `Passes are ${[...known].join(', ')}.`,
      where: { pass: name },
    });
  }
  const end = stopAfter === undefined ? passes.length : passes.findIndex(({ name }) => name === stopAfter) + 1;
  return passes.slice(0, end).filter(({ name }) => (only?.includes(name) ?? true) && !disable.includes(name));
}

function verifyAfter(pass: Pass, module: Module): void {
  try {
    verifyModule(module);
  } catch (error) {
    if (!(error instanceof QuaverError)) throw error;
    throw new QuaverError('pass-invalid-module', `after the pass ${pass.name}: ${error.message}`, {
      hint: `This is a defect of the compiler. Try to go on without the pass (disable: ['${pass.name}']) and report it.`,
      where: { ...error.where, pass: pass.name },
      cause: error,
    });
  }
}

function refuseNotLowered({ not_lowered: list }: CompileReport): void {
  const [first] = list;
  if (!first) return;
  const more = list.length > 1 ? ` (and ${list.length - 1} more)` : '';
  throw new QuaverError(
    'compile-not-lowered',
    `${first.op} at ${first.location} keeps its precision: ${first.reason} (${first.code})${more}`,
    { hint: first.hint, where: { location: first.location, reason: first.code, count: list.length } },
  );
}
