/** @file Uses the contract without a session, as the cases about buffers and submissions must. */
import { type DeviceBuffer, type Executor, type Program, supportOf } from '@quaver/executor';
import { coreOps, type HostTensor, legalizeFunction, parseModule, planMemory, viewHostArray } from '@quaver/ir';

/** Compiles the function `main` of a module in the text form. */
export function compileText(executor: Executor, text: string): Promise<Program> {
  const [fn] = parseModule(text).functions;
  const legal = legalizeFunction(fn!, (node) => supportOf(executor, node), coreOps);
  return executor.compile(planMemory(legal));
}

/** A buffer that holds a tensor. */
export async function uploaded(
  executor: Executor,
  { data }: HostTensor,
  usage: 'input' | 'output' = 'input',
): Promise<DeviceBuffer> {
  const buffer = executor.allocate(data.byteLength, usage);
  await executor.upload(buffer, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return buffer;
}

export async function downloaded(executor: Executor, buffer: DeviceBuffer, like: HostTensor): Promise<HostTensor> {
  return { type: like.type, data: viewHostArray(like.type.dtype, await executor.download(buffer)) };
}
