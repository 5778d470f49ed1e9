import type { HostTensor } from '@quaver/ir';
import { compareTensors } from '../compare.ts';
import { caseFailure, codeOf, errorText } from '../runner/outcome.ts';

/** @throws QuaverError `conformance-failed` */
export function expectSameBits(what: string, found: HostTensor | undefined, expected: HostTensor): void {
  if (!found) throw caseFailure(`${what}: there is no result`);
  const { problem } = compareTensors(expected, found);
  if (problem !== undefined) throw caseFailure(`${what}: ${problem}`);
}

/** Expects an error with this code, thrown at once or by the promise. @throws QuaverError `conformance-failed` */
export async function expectCode(what: string, code: string, work: () => unknown): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (codeOf(error) === code) return;
    throw caseFailure(`${what}: expected an error with code ${code}, found ${errorText(error)}`);
  }
  throw caseFailure(`${what}: expected an error with code ${code}, but nothing was thrown`);
}

export function f32(shape: readonly number[], values: ArrayLike<number>): HostTensor {
  return { type: { dtype: 'f32', shape }, data: Float32Array.from(values) };
}

/** Some of the rows of a tensor: indices along axis 0. */
export function rowsOf({ type, data }: HostTensor, from: number, to: number): HostTensor {
  const width = type.shape.slice(1).reduce((product, dim) => product * dim, 1);
  return { type: { ...type, shape: [to - from, ...type.shape.slice(1)] }, data: data.slice(from * width, to * width) };
}
