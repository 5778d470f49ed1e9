/** @file Encodes one function of a module into a header. */
import type { Offset } from 'flatbuffers';
import * as fb from '../gen/ir.ts';
import type { GraphFunction, MemoryPlan, Node, Value } from '../module.ts';
import type { HeaderTables } from './header-tables.ts';

export class FunctionEncoder {
  readonly #tables: HeaderTables;
  readonly #fn: GraphFunction;
  readonly #values: readonly Value[];
  readonly #indices: ReadonlyMap<Value, number>;

  constructor(tables: HeaderTables, fn: GraphFunction) {
    this.#tables = tables;
    this.#fn = fn;
    this.#values = [...fn.inputs, ...fn.parameters, ...fn.states, ...fn.nodes.flatMap((node) => node.results)];
    this.#indices = new Map(this.#values.map((value, i) => [value, i]));
  }

  encode(): Offset {
    const b = this.#tables.builder;
    const fn = this.#fn;
    const values = fb.Function.createValuesVector(
      b,
      this.#values.map((value) => this.#value(value)),
    );
    const inputs = fb.Function.createInputsVector(b, this.#indicesOf(fn.inputs));
    const parameters = fb.Function.createParametersVector(b, this.#indicesOf(fn.parameters));
    const states = fb.Function.createStatesVector(b, this.#indicesOf(fn.states));
    const nodes = fb.Function.createNodesVector(
      b,
      fn.nodes.map((node) => this.#node(node)),
    );
    const outputs = fb.Function.createOutputsVector(
      b,
      fn.outputs.map(({ name, value }) => fb.Output.createOutput(b, this.#tables.string(name), this.#index(value))),
    );
    const updates = fb.Function.createUpdatesVector(
      b,
      fn.updates.map(({ target, name, value }) => {
        const { parameterIndex, stateIndex } = this.#tables;
        const ref = (target === 'parameter' ? parameterIndex : stateIndex).get(name)!;
        return fb.Update.createUpdate(b, ref, this.#index(value), fb.UpdateTarget[target]);
      }),
    );
    const plan = fn.plan && this.#plan(fn.plan);
    const name = this.#tables.string(fn.name);
    fb.Function.startFunction(b);
    fb.Function.addName(b, name);
    fb.Function.addValues(b, values);
    fb.Function.addInputs(b, inputs);
    fb.Function.addParameters(b, parameters);
    fb.Function.addStates(b, states);
    fb.Function.addNodes(b, nodes);
    fb.Function.addOutputs(b, outputs);
    fb.Function.addUpdates(b, updates);
    if (plan !== undefined) fb.Function.addPlan(b, plan);
    return fb.Function.endFunction(b);
  }

  #index(value: Value): number {
    return this.#indices.get(value)!;
  }

  #indicesOf(values: readonly Value[]): number[] {
    return values.map((value) => this.#index(value));
  }

  #value(value: Value): Offset {
    const { builder: b, parameterIndex, stateIndex } = this.#tables;
    const name = this.#tables.string(value.name);
    const targets = value.kind === 'parameter' ? parameterIndex : stateIndex;
    const ref = value.ref === undefined ? undefined : targets.get(value.ref);
    fb.Value.startValue(b);
    fb.Value.addName(b, name);
    fb.Value.addKind(b, fb.ValueKind[value.kind]);
    fb.Value.addType(b, this.#tables.type(value.type));
    if (ref !== undefined) fb.Value.addRef(b, ref);
    return fb.Value.endValue(b);
  }

  #node(node: Node): Offset {
    const tables = this.#tables;
    const b = tables.builder;
    const operands = fb.Node.createOperandsVector(
      b,
      node.operands.map((value) => (value ? this.#index(value) : -1)),
    );
    const results = fb.Node.createResultsVector(b, this.#indicesOf(node.results));
    const attributes = fb.Node.createAttributesVector(b, tables.attributes(node));
    const annotationEntries = tables.entries(node.annotations);
    const annotations =
      annotationEntries.length > 0 ? fb.Node.createAnnotationsVector(b, annotationEntries) : undefined;
    const location = node.location === '' ? undefined : tables.string(node.location);
    fb.Node.startNode(b);
    fb.Node.addOp(b, tables.op(node));
    fb.Node.addOperands(b, operands);
    fb.Node.addResults(b, results);
    fb.Node.addAttributes(b, attributes);
    if (location !== undefined) fb.Node.addLocation(b, location);
    if (annotations !== undefined) fb.Node.addAnnotations(b, annotations);
    return fb.Node.endNode(b);
  }

  #plan({ slots, slotOf }: MemoryPlan): Offset {
    const b = this.#tables.builder;
    const sizes = fb.MemoryPlan.createSlotsVector(
      b,
      slots.map((slot) => this.#tables.dim(slot)),
    );
    const slotOfValue = ({ name }: Value) => (Object.hasOwn(slotOf, name) ? slotOf[name]! : -1);
    return fb.MemoryPlan.createMemoryPlan(b, sizes, fb.MemoryPlan.createSlotOfVector(b, this.#values.map(slotOfValue)));
  }
}
