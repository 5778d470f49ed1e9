/**
 * @file Reverse-mode differentiation of a function. What a node does to the loss is in its op's `gradient` rule; here those
 * rules are put together. The result is an ordinary function: it can be verified, dumped, lowered and run anywhere.
 */
import {
  coreOps,
  FunctionRewriter,
  floatDTypes,
  GraphBuilder,
  type GraphFunction,
  type Node,
  type OpDefinition,
  type OpRegistry,
  type StateVariable,
  stopped,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { parameterOnlyValues } from '../graph/value-uses.ts';
import { gradientLocation, markGradients } from './gradient-marks.ts';
import { Recomputation, type RematPolicy } from './recompute.ts';

export interface DifferentiateOptions {
  /** The output that is differentiated: f32 with one element. */
  readonly loss: string;
  /** Inputs and parameters, by name, that it is differentiated with respect to. */
  readonly wrt: readonly string[];
  /** Gradients, by name, that are added to an f32 state of their shape as soon as they are complete, and are no outputs. */
  readonly into?: Readonly<Record<string, StateVariable>>;
  /** What is computed again in the backward pass instead of being kept; by default nothing. */
  readonly remat?: RematPolicy;
  readonly registry?: OpRegistry;
}

/** The output that holds the gradient with respect to an input or a parameter. */
export function gradientOutput(name: string): string {
  return `gradient.${name}`;
}

/**
 * The function with one more output, or one more update of a state, for each name in `wrt`: f32 in its shape, what the loss
 * changes by with it.
 * Composites without a gradient rule are replaced by their bodies where the loss depends on them. Nodes that are appended say
 * in their annotations that they compute gradients (gradient-marks.ts), at the location of their node plus `.gradient`.
 * @throws QuaverError `autodiff-loss`, `autodiff-unknown`, `autodiff-remat`; `autodiff-no-rule`, and `op-type` for a rule that needs a
 *   static size, naming the op and where it comes from
 */
export function differentiate(fn: GraphFunction, options: DifferentiateOptions): GraphFunction {
  const { registry = coreOps, remat = 'none', into = {} } = options;
  const loss = lossOf(fn, options.loss);
  const targets = options.wrt.map((name) => ({ name, value: targetOf(fn, name) }));
  const active = new ActiveValues(targets.map(({ value }) => value));
  const rewriter = new FunctionRewriter(fn, registry);
  for (const node of fn.nodes) keep(rewriter, active, node, registry);

  const weights = parameterOnlyValues({ ...fn, nodes: rewriter.nodes });
  const reverse = new ReversePass(rewriter, active, weights, new Recomputation(rewriter, remat, weights, registry));
  reverse.seed(rewriter.resolve(loss));
  const stateOf = ({ name }: Target) => (Object.hasOwn(into, name) ? into[name] : undefined);
  const forward = [...rewriter.nodes];
  const complete = targetsByFirstUser(targets, forward);
  for (const [index, node] of [...forward.entries()].reverse()) {
    reverse.visit(node, registry.get(node.domain, node.op, node.version));
    for (const target of complete.get(index) ?? []) {
      const state = stateOf(target);
      if (state) addToState(state, target.name, reverse.gradient(target.value), rewriter);
    }
  }
  for (const target of targets) {
    if (!stateOf(target)) rewriter.output(gradientOutput(target.name), reverse.gradient(target.value));
  }
  return rewriter.finish();
}

interface Target {
  readonly name: string;
  readonly value: Value;
}

/** Targets by the index of their first user: when it was visited, the last of all, their gradients are complete. */
function targetsByFirstUser(targets: readonly Target[], nodes: readonly Node[]): Map<number, Target[]> {
  const byIndex = new Map<number, Target[]>();
  for (const target of targets) {
    const index = nodes.findIndex(({ operands }) => operands.includes(target.value));
    byIndex.set(index, [...(byIndex.get(index) ?? []), target]);
  }
  return byIndex;
}

function addToState(state: StateVariable, name: string, gradient: Value, rewriter: FunctionRewriter): void {
  const origin = { location: gradientOutput(name), annotations: { gradient_of: 'loss' } };
  rewriter.update(state.name, rewriter.op('add', [rewriter.state(state), gradient], {}, origin));
}

function lossOf(fn: GraphFunction, name: string): Value {
  const value = fn.outputs.find((output) => output.name === name)?.value;
  const isNumber = value?.type.dtype === 'f32' && value.type.shape.every((dim) => dim === 1);
  if (value && isNumber) return value;
  const found = value ? `is ${value.type.dtype}[${value.type.shape.join(',')}]` : 'does not exist';
  throw new QuaverError(
    'autodiff-loss',
    `output '${name}' of function '${fn.name}' ${found}, expected one f32 number`,
    {
      hint: `Its outputs are: ${fn.outputs.map((output) => output.name).join(', ')}.`,
      where: { function: fn.name, output: name },
    },
  );
}

function targetOf(fn: GraphFunction, name: string): Value {
  const value =
    fn.inputs.find((input) => input.name === name) ?? fn.parameters.find((parameter) => parameter.ref === name);
  if (value && isDifferentiable(value)) return value;
  const found = value ? `is ${value.type.dtype}, which has no gradient` : 'is neither an input nor a parameter';
  throw new QuaverError('autodiff-unknown', `'${name}' of function '${fn.name}' ${found}`, {
    where: { function: fn.name, value: name },
  });
}

function isDifferentiable({ type }: Value): boolean {
  return floatDTypes.includes(type.dtype);
}

/** Values that change with one of the targets. */
class ActiveValues {
  readonly #active: Set<Value>;

  constructor(targets: readonly Value[]) {
    this.#active = new Set(targets);
  }

  has(value: Value | undefined): boolean {
    return value !== undefined && this.#active.has(value);
  }

  /** Whether one of the operands is active; then the results are. */
  flowsThrough(node: Node): boolean {
    if (!node.operands.some((value) => this.has(value))) return false;
    for (const value of node.results) if (isDifferentiable(value)) this.#active.add(value);
    return node.results.some(isDifferentiable);
  }
}

/** Keeps a node of the function, or appends one of a body; instead of it its own body where only that can be differentiated. */
function keep(rewriter: FunctionRewriter, active: ActiveValues, node: Node, registry: OpRegistry, isNew = false): void {
  const op = registry.get(node.domain, node.op, node.version);
  const resolved = { ...node, operands: node.operands.map((value) => value && rewriter.resolve(value)) };
  const flows = active.flowsThrough(resolved);
  if (flows && op.isComposite && !op.hasGradient) {
    const { nodes, results } = rewriter.body(node);
    for (const inner of nodes) keep(rewriter, active, inner, registry, true);
    node.results.forEach((value, i) => {
      rewriter.replace(value, results[i]!);
    });
  } else if (isNew) rewriter.append(resolved);
  else rewriter.keep(node);
}

/** Walks from the loss back to the targets and adds up what every value contributes. */
class ReversePass {
  readonly #rewriter: FunctionRewriter;
  readonly #active: ActiveValues;
  readonly #weights: ReadonlySet<Value>;
  readonly #recomputation: Recomputation;
  /** f32, by value: what the loss changes by with it, as far as its uses were visited. */
  readonly #cotangents = new Map<Value, Value>();

  constructor(
    rewriter: FunctionRewriter,
    active: ActiveValues,
    weights: ReadonlySet<Value>,
    recomputation: Recomputation,
  ) {
    this.#rewriter = rewriter;
    this.#active = active;
    this.#weights = weights;
    this.#recomputation = recomputation;
  }

  seed(loss: Value): void {
    this.#cotangents.set(loss, this.#constant(1, loss));
  }

  visit(node: Node, op: OpDefinition): void {
    const cotangents = node.results.map((value) => this.#cotangents.get(value));
    const wanted = node.operands.map((value) => this.#active.has(value));
    if (!cotangents.some(Boolean) || !wanted.some(Boolean)) return;
    if (!op.hasGradient) throw noRule(node, 'has no gradient rule');
    const names = Object.keys(op.operands);
    const standIn = this.#recomputation.standIn(node);
    const gradients = this.#build(standIn, (g) => placed(node, () => op.gradient(g, standIn, cotangents)));
    node.operands.forEach((value, i) => {
      if (!value || !wanted[i]) return;
      const gradient = gradients[i];
      if (gradient === undefined) throw noRule(node, `has no gradient with respect to its operand '${names[i]}'`);
      if (gradient !== stopped) this.#add(value, gradient, node);
    });
  }

  /** The whole gradient with respect to a value; zeros when the loss does not depend on it. */
  gradient(value: Value): Value {
    return this.#cotangents.get(value) ?? this.#constant(0, value);
  }

  #constant(number: number, like: Value): Value {
    const g = new GraphBuilder(this.#rewriter.source.name);
    const value = g.constant(number, 'f32', like.type.shape);
    for (const node of g.nodes) this.#rewriter.append({ ...node, annotations: { gradient_of: 'loss' } });
    return value;
  }

  #add(value: Value, gradient: Value, node: Node): void {
    const sum = this.#cotangents.get(value);
    this.#cotangents.set(value, sum ? this.#build(node, (g) => [g.op('add', [sum, gradient])])[0]! : gradient);
  }

  /** Appends what `build` makes as the gradients of the node's operands. */
  #build<T extends Value | string | undefined>(node: Node, build: (g: GraphBuilder) => readonly T[]): readonly T[] {
    const g = new GraphBuilder(this.#rewriter.source.name);
    const location = gradientLocation(node.location);
    const built = location === '' ? build(g) : g.scope(location, () => build(g));
    for (const marked of markGradients(g.nodes, node, built, this.#weights)) this.#rewriter.append(marked);
    return built;
  }
}

/** What a rule throws says what it needs, such as a static size, not where in the model. */
function placed<T>(node: Node, rule: () => T): T {
  try {
    return rule();
  } catch (error) {
    if (!(error instanceof QuaverError)) throw error;
    const { code, message, hint, where } = error;
    const place = { where: { ...where, location: node.location }, cause: error };
    throw new QuaverError(code, message + placeOf(node), { ...place, ...(hint === undefined ? {} : { hint }) });
  }
}

function placeOf({ location }: Node): string {
  return location === '' ? '' : ` (at ${location})`;
}

function noRule(node: Node, what: string): QuaverError {
  const { op, location, results } = node;
  return new QuaverError('autodiff-no-rule', `${op} ${what}${placeOf(node)}`, {
    hint: 'Put stop_gradient before it if the loss shall not change with it.',
    where: { op, location, node: results[0]?.name ?? '' },
  });
}
