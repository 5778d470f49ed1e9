/** @file What a call gives back: outputs as host tensors, copied or seen in place. */
import {
  bindType,
  type ConcreteType,
  type GraphFunction,
  type HostTensor,
  type Value,
  viewHostArray,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { Bindings, DeviceBuffer, Executor } from './contract.ts';

type Outputs = Record<string, HostTensor>;

/** @throws QuaverError `session-output-unknown` */
export function checkOutputs(fn: GraphFunction, outputs: readonly string[]): void {
  const names: readonly string[] = Array.isArray(outputs) ? outputs : [`${String(outputs)} (no list)`];
  const unknown = names.find((name) => !fn.outputs.some((output) => output.name === name));
  if (unknown === undefined) return;
  throw new QuaverError('session-output-unknown', `function '${fn.name}' has no output '${unknown}'`, {
    hint: `Its outputs are: ${fn.outputs.map(({ name }) => name).join(', ')}.`,
    where: { function: fn.name, output: unknown },
  });
}

/** Copies of the wanted outputs. */
export async function downloadOutputs(
  executor: Executor,
  fn: GraphFunction,
  { symbols, outputs: buffers }: Bindings,
  wanted: readonly string[],
): Promise<Outputs> {
  const results: Outputs = {};
  for (const { name, value } of fn.outputs) {
    if (!wanted.includes(name)) continue;
    const buffer = buffers[name]!;
    const type = bindType(value.type, symbols);
    results[name] = tensorOf(executor, 'download', buffer, type, await executor.download(buffer));
  }
  return results;
}

/** Like a download, in place where that is possible. */
export async function seeOutputs(
  executor: Executor,
  fn: GraphFunction,
  bindings: Bindings,
  wanted: readonly string[],
): Promise<Outputs> {
  const hidden = wanted.filter((name) => executor.view?.(bindings.outputs[name]!) === undefined);
  const downloaded = await downloadOutputs(executor, fn, bindings, hidden);
  // From here on nothing is waited for: views are taken last.
  return Object.fromEntries(
    fn.outputs
      .filter(({ name }) => wanted.includes(name))
      .map(({ name, value }) => [name, downloaded[name] ?? seen(executor, bindings, name, value)]),
  );
}

function seen(executor: Executor, { symbols, outputs }: Bindings, name: string, value: Value): HostTensor {
  const buffer = outputs[name]!;
  return tensorOf(executor, 'view', buffer, bindType(value.type, symbols), executor.view!(buffer));
}

/** Bytes that an executor gave for a buffer, looked at: executors come from anyone's package. */
function tensorOf(
  executor: Executor,
  method: 'download' | 'view',
  buffer: DeviceBuffer,
  type: ConcreteType,
  bytes: Uint8Array | undefined,
): HostTensor {
  if (bytes instanceof Uint8Array && bytes.byteLength === buffer.byteLength) {
    return { type, data: viewHostArray(type.dtype, bytes) };
  }
  const found = bytes instanceof Uint8Array ? `${bytes.byteLength} bytes` : 'no Uint8Array';
  throw new QuaverError(
    'executor-plugin-invalid',
    `executor '${executor.id}': ${method}() gave ${found} for a buffer of ${buffer.byteLength}`,
    { hint: 'See the interface Executor of @quaver/executor.', where: { executor: executor.id } },
  );
}
