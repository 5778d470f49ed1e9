import {
  coreOps,
  FunctionRewriter,
  findFunction,
  type Module,
  planMemory,
  type StateVariable,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { isAmaxHistory, runningAmaxState } from './amax-recorder.ts';

/**
 * The compiled module, with a function that also ends a step for delayed scales: every amax history loses its oldest entry and
 * takes the amax that the gradient functions collected since the last call, over all micro-batches; the collected values
 * start again at zero. A collected value that is Inf or NaN, as in a step that the optimizer skips, is not taken: the newest entry
 * is repeated. Give it the function that updates the weights, once per compile. A module without delayed scales is returned.
 * @throws QuaverError `function-unknown`
 */
export function shiftAmaxHistories(module: Module, functionName: string): Module {
  const fn = findFunction(module, functionName);
  if (!fn) {
    throw new QuaverError('function-unknown', `module '${module.name}' has no function '${functionName}'`, {
      hint: `Its functions are: ${module.functions.map(({ name }) => name).join(', ')}.`,
      where: { module: module.name, function: functionName },
    });
  }
  const known = new Set(module.states.map(({ name }) => name));
  const histories = module.states.filter(
    (state) => isAmaxHistory(state.name) && known.has(runningAmaxState(state).name),
  );
  if (histories.length === 0) return module;
  const rewriter = new FunctionRewriter(fn, coreOps);
  for (const node of fn.nodes) rewriter.keep(node);
  for (const history of histories) shiftHistory(rewriter, history);
  const shifted = rewriter.finish();
  const planned = fn.plan ? planMemory(shifted) : shifted;
  return { ...module, functions: module.functions.map((other) => (other === fn ? planned : other)) };
}

function shiftHistory(rewriter: FunctionRewriter, state: StateVariable): void {
  const running = runningAmaxState(state);
  const length = state.type.shape[0] as number;
  const origin = { location: state.name };
  const op = (name: string, operands: readonly Value[], attributes = {}) =>
    rewriter.op(name, operands, attributes, origin);
  const [history, collected] = [rewriter.state(state), rewriter.state(running)];
  const entries = (start: number) => op('slice', [history], { start: [start], limit: [length], stride: [1] });
  const splat = (value: number) => op('constant', [], { value, dtype: 'f32', shape: [1] });
  const finite = op('compare', [collected, splat(Number.POSITIVE_INFINITY)], { direction: 'LT' });
  const entry = op('select', [finite, collected, entries(length - 1)]);
  rewriter.update(state.name, length === 1 ? entry : op('concatenate', [entries(1), entry], { axis: 0 }));
  rewriter.update(running.name, splat(0));
}
