/** @file Prints modules in the text form: what people read, diff and paste. {@link parseModule} reads it back. */
import { FORMAT_VERSION, moduleOpsets } from '../file/layout.ts';
import type {
  Attributes,
  AttributeValue,
  GraphFunction,
  MemoryPlan,
  Module,
  Node,
  SymbolicDim,
  Value,
} from '../module.ts';
import { formatType } from '../type.ts';
import { nameText, numberText, stringText } from './lexical.ts';

/** Inputs or outputs that would take more characters than this are printed one a line. */
const MAX_LIST = 90;

/**
 * The whole module as text, without tensor bytes; equal modules give equal text.
 * The module must be a verified one.
 */
export function printModule(module: Module): string {
  const opsets = moduleOpsets(module).map(({ domain, version }) => `${domain}@${version}`);
  const header = [
    `quaver ${FORMAT_VERSION}${opsets.length > 0 ? ` opset ${opsets.join(', ')}` : ''}`,
    `module ${JSON.stringify(module.name)}`,
    ...module.symbols.map(symbolLine),
    ...module.parameters.map(
      ({ name, type, trainable }) =>
        `parameter ${JSON.stringify(name)}: ${formatType(type)}${trainable ? '' : ' frozen'}`,
    ),
    ...module.states.map(({ name, type }) => `state ${JSON.stringify(name)}: ${formatType(type)}`),
    ...Object.entries(module.metadata).map(
      ([key, value]) => `metadata ${JSON.stringify(key)} = ${JSON.stringify(value)}`,
    ),
    ...[...module.attachments].map(
      ([name, { byteLength }]) => `attachment ${JSON.stringify(name)} ${byteLength} bytes`,
    ),
  ];
  return `${[header.join('\n'), ...module.functions.map(printFunction)].join('\n\n')}\n`;
}

/** One function as text. */
export function printFunction(fn: GraphFunction): string {
  const inputs = [...fn.inputs, ...fn.parameters, ...fn.states].map(argument);
  const outputs = fn.outputs.map(({ name, value }) => `${nameText(name)}: ${formatType(value.type)}`);
  const returned = fn.outputs.map(({ value }) => `%${value.name}`);
  const lines = [
    `func @${nameText(fn.name)}${bracketed(inputs)} -> ${bracketed(outputs)} {`,
    ...fn.nodes.map((node) => `  ${printNode(node)}`),
    ...fn.updates.map(
      ({ target, name, value }) =>
        `  update ${target === 'parameter' ? 'parameter ' : ''}${JSON.stringify(name)} = %${value.name}`,
    ),
    `  return${returned.length > 0 ? ` ${returned.join(', ')}` : ''}`,
    ...(fn.plan ? planLines(fn, fn.plan) : []),
    '}',
  ];
  return lines.join('\n');
}

function symbolLine({ name, min, max, multiple }: SymbolicDim): string {
  const upper = max === Number.POSITIVE_INFINITY ? '' : String(max);
  return `symbol ${name} ${min}..${upper}${multiple === 1 ? '' : ` multiple ${multiple}`}`;
}

function argument({ kind, name, type, ref }: Value): string {
  const typed = `%${name}: ${formatType(type)}`;
  if (kind === 'input') return typed;
  return `${typed}${kind === 'state' ? ' state' : ''} @${JSON.stringify(ref)}`;
}

function printNode(node: Node): string {
  const results = node.results.map(({ name }) => `%${name}`).join(', ');
  const operands = node.operands.map((value) => (value ? `%${value.name}` : '_')).join(', ');
  const types = node.results.map(({ type }) => formatType(type)).join(', ');
  const notes = Object.entries(node.annotations).map(([key, value]) => ` !${nameText(key)}(${JSON.stringify(value)})`);
  const location = node.location === '' ? '' : ` loc(${JSON.stringify(node.location)})`;
  return `${results} = ${opText(node)}(${operands})${attributesText(node.attributes)} : ${types}${notes.join('')}${location}`;
}

/** Core ops go without their domain, first versions without their number. */
function opText({ domain, op, version }: Node): string {
  return `${domain === 'core' ? '' : `${domain}.`}${op}${version === 1 ? '' : `@${version}`}`;
}

function attributesText(attributes: Attributes): string {
  const entries = Object.entries(attributes).map(([name, value]) => `${nameText(name)}=${attributeText(value)}`);
  return entries.length === 0 ? '' : ` {${entries.join(', ')}}`;
}

function attributeText(value: AttributeValue): string {
  switch (typeof value) {
    case 'number':
      return numberText(value);
    case 'boolean':
      return String(value);
    case 'string':
      return stringText(value);
    default:
      return `[${value.map((item) => (typeof item === 'number' ? numberText(item) : item)).join(', ')}]`;
  }
}

function planLines(fn: GraphFunction, { slots, slotOf }: MemoryPlan): string[] {
  const names: string[][] = slots.map(() => []);
  for (const node of fn.nodes) {
    for (const { name } of node.results) if (Object.hasOwn(slotOf, name)) names[slotOf[name]!]!.push(`%${name}`);
  }
  return ['  plan {', ...slots.map((size, i) => `    ${[`slot ${size}:`, ...joined(names[i]!)].join(' ')}`), '  }'];
}

function joined(items: readonly string[]): string[] {
  return items.length === 0 ? [] : [items.join(', ')];
}

function bracketed(items: readonly string[]): string {
  const line = items.join(', ');
  return line.length <= MAX_LIST ? `(${line})` : `(\n${items.map((item) => `  ${item},\n`).join('')})`;
}
