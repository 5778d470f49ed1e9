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
  stopped,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

export interface DifferentiateOptions {
  /** The output that is differentiated: f32 with one element. */
  readonly loss: string;
  /** Inputs and parameters, by name, that it is differentiated with respect to. */
  readonly wrt: readonly string[];
  readonly registry?: OpRegistry;
}

/** The output that holds the gradient with respect to an input or a parameter. */
export function gradientOutput(name: string): string {
  return `gradient.${name}`;
}

/**
 * The function with one more output for each name in `wrt`: f32 in its shape, what the loss changes by with it.
 * Composites without a gradient rule are replaced by their bodies where the loss depends on them.
 * @throws QuaverError `autodiff-loss`, `autodiff-unknown`, `autodiff-no-rule` naming the op and where it comes from
 */
export function differentiate(fn: GraphFunction, options: DifferentiateOptions): GraphFunction {
  const { registry = coreOps } = options;
  const loss = lossOf(fn, options.loss);
  const targets = options.wrt.map((name) => ({ name, value: targetOf(fn, name) }));
  const active = new ActiveValues(targets.map(({ value }) => value));
  const rewriter = new FunctionRewriter(fn, registry);
  for (const node of fn.nodes) keep(rewriter, active, node, registry);

  const reverse = new ReversePass(rewriter, active);
  reverse.seed(rewriter.resolve(loss));
  for (const node of [...rewriter.nodes].reverse())
    reverse.visit(node, registry.get(node.domain, node.op, node.version));
  for (const { name, value } of targets) rewriter.output(gradientOutput(name), reverse.gradient(value));
  return rewriter.finish();
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
  /** f32, by value: what the loss changes by with it, as far as its uses were visited. */
  readonly #cotangents = new Map<Value, Value>();

  constructor(rewriter: FunctionRewriter, active: ActiveValues) {
    this.#rewriter = rewriter;
    this.#active = active;
  }

  seed(loss: Value): void {
    this.#cotangents.set(
      loss,
      this.#build('loss', (g) => g.constant(1, 'f32', loss.type.shape)),
    );
  }

  visit(node: Node, op: OpDefinition): void {
    const cotangents = node.results.map((value) => this.#cotangents.get(value));
    const wanted = node.operands.map((value) => this.#active.has(value));
    if (!cotangents.some(Boolean) || !wanted.some(Boolean)) return;
    if (!op.hasGradient) throw noRule(node, 'has no gradient rule');
    const names = Object.keys(op.operands);
    const gradients = this.#build(node.location, (g) => op.gradient(g, node, cotangents));
    node.operands.forEach((value, i) => {
      if (!value || !wanted[i]) return;
      const gradient = gradients[i];
      if (gradient === undefined) throw noRule(node, `has no gradient with respect to its operand '${names[i]}'`);
      if (gradient !== stopped) this.#add(value, gradient, node.location);
    });
  }

  /** The whole gradient with respect to a value; zeros when the loss does not depend on it. */
  gradient(value: Value): Value {
    return this.#cotangents.get(value) ?? this.#build('', (g) => g.constant(0, 'f32', value.type.shape));
  }

  #add(value: Value, gradient: Value, location: string): void {
    const sum = this.#cotangents.get(value);
    this.#cotangents.set(value, sum ? this.#build(location, (g) => g.op('add', [sum, gradient])) : gradient);
  }

  /** Appends what `build` makes to the function. */
  #build<T>(location: string, build: (g: GraphBuilder) => T): T {
    const g = new GraphBuilder(this.#rewriter.source.name);
    const built = location === '' ? build(g) : g.scope(`${location}.gradient`, () => build(g));
    for (const node of g.nodes) this.#rewriter.append(node);
    return built;
  }
}

function noRule({ op, location, results }: Node, what: string): QuaverError {
  const at = location === '' ? '' : ` (at ${location})`;
  return new QuaverError('autodiff-no-rule', `${op} ${what}${at}`, {
    hint: 'Put stop_gradient before it if the loss shall not change with it.',
    where: { op, location, node: results[0]?.name ?? '' },
  });
}
