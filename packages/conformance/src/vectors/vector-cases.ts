/** @file Turns manifests into cases: every vector, and for composites also their body. */
import { type Executor, Session, supportOf } from '@quaver/executor';
import { coreOps, type HostTensor } from '@quaver/ir';
import { compareTensors } from '../compare.ts';
import type { CaseContext, ConformanceCase, Outcome, Via } from '../runner/case.ts';
import { outcomeOfError } from '../runner/outcome.ts';
import { type Manifest, type ReadVectorFile, readIndex, readManifest, type VectorCase } from './manifest.ts';
import { type LoadTensor, openTensors } from './tensors.ts';
import { expanded, type VectorModule, vectorModule } from './vector-module.ts';

/** @throws QuaverError `vectors-invalid`, `op-unknown`, and what `read` throws */
export async function vectorCases(read: ReadVectorFile, signal?: AbortSignal): Promise<ConformanceCase[]> {
  const cases: ConformanceCase[] = [];
  for (const name of await readIndex(read, signal)) {
    const manifest = await readManifest(read, name, signal);
    const load = await openTensors(read, manifest.tensors, signal);
    const { isComposite } = coreOps.get(manifest.domain, manifest.op, manifest.version);
    for (const item of manifest.cases) {
      cases.push(vectorCase(manifest, item, load, false));
      if (isComposite) cases.push(vectorCase(manifest, item, load, true));
    }
  }
  return cases;
}

function vectorCase(manifest: Manifest, item: VectorCase, load: LoadTensor, body: boolean): ConformanceCase {
  const { op } = manifest;
  return {
    name: `${op}/${item.name}${body ? ' (body)' : ''}`,
    op,
    dtypes: item.operands.flatMap((operand) => (operand ? [operand.dtype] : [])),
    resultDTypes: item.results.map(({ dtype }) => dtype),
    run: (context) => runVector(manifest, item, load, body, context),
  };
}

async function runVector(
  manifest: Manifest,
  item: VectorCase,
  load: LoadTensor,
  body: boolean,
  { executor, signal }: CaseContext,
): Promise<Outcome> {
  const operands = await Promise.all(item.operands.map((operand) => (operand ? load(operand) : undefined)));
  const expected = await Promise.all(item.results.map(load));
  const forms = [[], ...(item.parameters && !body ? [item.parameters] : [])];
  let ulp = 0;
  let via: Via = 'body';
  for (const asParameters of forms) {
    const built = vectorModule({ ...manifest, operands, attributes: item.attributes }, asParameters);
    via = body ? 'body' : viaOf(executor, built);
    const outcome = await runModule(built, expected, item, body, executor, signal);
    if (outcome.status === 'unsupported') return outcome;
    const form = asParameters.length === 0 ? '' : ` (operands ${asParameters.join(', ')} as parameters)`;
    if (outcome.status === 'failed') return { ...outcome, via, reason: outcome.reason + form };
    ulp = Math.max(ulp, outcome.ulp);
  }
  return { status: 'passed', ulp, via };
}

function viaOf(executor: Executor, { node }: VectorModule): Via {
  const support = supportOf(executor, node);
  if (!support.ok) return 'body';
  return support.native ? 'kernel' : 'definition';
}

function copied(outputs: Record<string, HostTensor>): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { type, data }]) => [name, { type, data: data.slice() }]),
  );
}

async function runModule(
  { module, inputs }: VectorModule,
  expected: readonly HostTensor[],
  { tolerance }: VectorCase,
  body: boolean,
  executor: Executor,
  signal: AbortSignal,
): Promise<Outcome> {
  const { rowInvariant } = executor.capabilities;
  try {
    await using session = await Session.open(body ? expanded(module) : module, executor, { signal });
    // Twice: what an executor keeps between calls must not change what it computes, nor what it shows without a copy.
    const runs = [
      { outputs: await session.run('main', inputs, { signal }), how: '' },
      {
        outputs: await session.runAndRead('main', inputs, { signal }, copied),
        how: executor.view ? ', as view() shows it' : '',
      },
    ];
    let ulp = 0;
    for (const { outputs, how } of runs) {
      for (const [i, { name }] of module.functions[0]!.outputs.entries()) {
        const compared = compareTensors(expected[i]!, outputs[name]!, rowInvariant ? 'bits' : tolerance);
        const { problem } = compared;
        if (problem !== undefined) return { status: 'failed', reason: `${name}${how}: ${problem}`, ulp: compared.ulp };
        ulp = Math.max(ulp, compared.ulp ?? 0);
      }
    }
    return { status: 'passed', ulp };
  } catch (error) {
    signal.throwIfAborted();
    return outcomeOfError(error);
  }
}
