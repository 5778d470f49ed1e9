/** @file Decodes one function of a header. */
import * as fb from '../gen/ir.ts';
import type { GraphFunction, MemoryPlan, Node, Update, Value, ValueKind } from '../module.ts';
import type { HeaderReader } from './header-reader.ts';
import { type Upgraders, upgradeNode } from './upgrade.ts';

/** Names of the module's parameters and states, by index. */
export interface ReferenceNames {
  readonly parameters: readonly string[];
  readonly states: readonly string[];
}

export function decodeFunction(
  reader: HeaderReader,
  fn: fb.Function,
  names: ReferenceNames,
  upgraders: Upgraders,
): GraphFunction {
  const values = reader.list(fn.valuesLength(), (i) => decodeValue(reader, fn.values(i)!, names));
  const valueAt = (index: number) => reader.at(values, index, 'value');
  const plan = fn.plan();
  return {
    name: reader.text(fn, 'name'),
    inputs: reader.list(fn.inputsLength(), (i) => valueAt(fn.inputs(i)!)),
    parameters: reader.list(fn.parametersLength(), (i) => valueAt(fn.parameters(i)!)),
    states: reader.list(fn.statesLength(), (i) => valueAt(fn.states(i)!)),
    nodes: reader
      .list(fn.nodesLength(), (i) => decodeNode(reader, fn.nodes(i)!, valueAt))
      .flatMap((node) => upgradeNode(node, upgraders)),
    outputs: reader.list(fn.outputsLength(), (i) => {
      const output = fn.outputs(i)!;
      return { name: reader.text(output, 'name'), value: valueAt(output.value()) };
    }),
    updates: reader.list(fn.updatesLength(), (i) => {
      const update = fn.updates(i)!;
      const target = fb.UpdateTarget[update.target()] as Update['target'];
      const targets = target === 'parameter' ? names.parameters : names.states;
      return { target, name: reader.at(targets, update.ref(), target), value: valueAt(update.value()) };
    }),
    plan: plan ? decodePlan(reader, plan, values) : undefined,
  };
}

function decodeValue(reader: HeaderReader, value: fb.Value, names: ReferenceNames): Value {
  const kind = fb.ValueKind[value.kind()] as ValueKind;
  const ref = value.ref();
  const targets = kind === 'parameter' ? names.parameters : names.states;
  return {
    kind,
    name: reader.text(value, 'name'),
    type: reader.type(value.type()),
    ref: ref === null ? undefined : reader.at(targets, ref, kind),
  };
}

function decodeNode(reader: HeaderReader, node: fb.Node, valueAt: (index: number) => Value): Node {
  const operand = (index: number) => (index === -1 ? undefined : valueAt(index));
  return {
    ...reader.at(reader.ops, node.op(), 'op'),
    operands: reader.list(node.operandsLength(), (i) => operand(node.operands(i)!)),
    results: reader.list(node.resultsLength(), (i) => valueAt(node.results(i)!)),
    attributes: reader.attributes(node),
    location: reader.text(node, 'location'),
    annotations: reader.entries(node.annotationsLength(), (i) => node.annotations(i)!),
  };
}

/** The map has no prototype: value names are the file's, and 'constructor' must not be found unless it is there. */
function decodePlan(reader: HeaderReader, plan: fb.MemoryPlan, values: readonly Value[]): MemoryPlan {
  const slotOf: Record<string, number> = Object.create(null);
  for (let i = 0; i < plan.slotOfLength(); i++) {
    const slot = plan.slotOf(i)!;
    if (slot !== -1) slotOf[reader.at(values, i, 'value').name] = slot;
  }
  return { slots: reader.list(plan.slotsLength(), (i) => reader.dim(plan.slots(i)!)), slotOf };
}
