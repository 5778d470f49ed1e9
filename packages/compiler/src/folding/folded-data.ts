import { type HostTensor, type TensorData, viewHostArray } from '@quaver/ir';
import type { Expression, OpExpression } from './parameter-expression.ts';

/** Tensors of one evaluation, by expression. */
export type Evaluation = ReadonlyMap<Expression, HostTensor>;

/** How many evaluated tensors wait for their reader: a weight's scales while its codes are written. */
const WAITING_LIMIT = 8;

/**
 * Evaluates folded parameters when they are read. Codes and scales of a weight come from the same steps, so the scales
 * that evaluating the codes gave wait here for their reader; only a few tensors do, and an evicted one is computed again.
 */
export class FoldedTensors {
  readonly #wanted = new Set<Expression>();
  readonly #waiting = new Map<Expression, HostTensor>();

  /** The data of a new parameter. Nothing is computed yet. */
  data(expression: OpExpression, byteLength: number): FoldedData {
    this.#wanted.add(expression);
    return new FoldedData(this, expression, byteLength);
  }

  async read(expression: Expression, signal: AbortSignal | undefined): Promise<HostTensor> {
    const waiting = this.#waiting.get(expression);
    if (waiting) {
      this.#waiting.delete(expression);
      return waiting;
    }
    const evaluation = await this.evaluate(expression, signal);
    return evaluation.get(expression)!;
  }

  /** Computes an expression and gives all tensors on the way. */
  async evaluate(expression: Expression, signal: AbortSignal | undefined): Promise<Evaluation> {
    const evaluation = new Map<Expression, HostTensor>();
    await evaluate(expression, evaluation, signal);
    for (const [step, tensor] of evaluation) {
      if (step !== expression && this.#wanted.has(step)) this.#wait(step, tensor);
    }
    return evaluation;
  }

  #wait(expression: Expression, tensor: HostTensor): void {
    this.#waiting.delete(expression);
    this.#waiting.set(expression, tensor);
    for (const oldest of this.#waiting.keys()) {
      if (this.#waiting.size <= WAITING_LIMIT) break;
      this.#waiting.delete(oldest);
    }
  }
}

async function evaluate(
  expression: Expression,
  evaluation: Map<Expression, HostTensor>,
  signal: AbortSignal | undefined,
): Promise<HostTensor> {
  const known = evaluation.get(expression);
  if (known) return known;
  signal?.throwIfAborted();
  let tensor: HostTensor;
  if (expression.kind === 'parameter') {
    const bytes = await expression.parameter.data!.read(signal);
    tensor = { type: expression.type, data: viewHostArray(expression.type.dtype, bytes) };
  } else {
    const operands: (HostTensor | undefined)[] = [];
    for (const operand of expression.operands) operands.push(operand && (await evaluate(operand, evaluation, signal)));
    tensor = expression.op.evaluate(operands, expression.attributes, [expression.type])[0]!;
  }
  evaluation.set(expression, tensor);
  return tensor;
}

/** The bytes of a folded parameter, computed on every read. */
export class FoldedData implements TensorData {
  readonly byteLength: number;
  readonly expression: OpExpression;
  readonly tensors: FoldedTensors;

  constructor(tensors: FoldedTensors, expression: OpExpression, byteLength: number) {
    this.tensors = tensors;
    this.expression = expression;
    this.byteLength = byteLength;
  }

  async read(signal?: AbortSignal): Promise<Uint8Array> {
    return bytesOf(await this.tensors.read(this.expression, signal));
  }
}

export function bytesOf({ data }: HostTensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
