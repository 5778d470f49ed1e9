/** @file Parses the text form into a verified module; parameters and attachments come without data. */
import { QuaverError } from '@quaver/numerics';
import { checkFormatVersion, checkOpsets, type Opset } from '../file/layout.ts';
import { coreUpgraders, type Upgraders } from '../file/upgrade.ts';
import type { Module, Parameter, StateVariable, SymbolicDim, TensorData } from '../module.ts';
import { coreOps } from '../ops/index.ts';
import type { OpRegistry } from '../registry.ts';
import type { ConcreteType } from '../type.ts';
import { verifyModule } from '../verify.ts';
import { parseFunction } from './parse-function.ts';
import { parseType } from './parse-type.ts';
import { Scanner } from './scanner.ts';

export interface ParseOptions {
  /** Where ops are looked up; the core ops by default. */
  readonly registry?: OpRegistry;
  /** How nodes of replaced op versions become current ones. */
  readonly upgraders?: Upgraders;
}

/** Texts above this many characters are refused. */
const MAX_TEXT = 256 * 1024 * 1024;

/**
 * Parses and verifies; work is linear in the text. Attributes that are left out get their defaults.
 * @throws QuaverError `text-…` and others that a part of the text caused, with `line` and `column`; `module-version`;
 *   `verify-…` for what the verifier refuses
 */
export function parseModule(text: string, options: ParseOptions = {}): Module {
  const { registry = coreOps, upgraders = coreUpgraders } = options;
  if (text.length > MAX_TEXT) {
    throw new QuaverError('text-too-large', `the text has ${text.length} characters, more than ${MAX_TEXT}`, {
      hint: 'Store large modules as .qvr files.',
    });
  }
  const scanner = new Scanner(text);
  parseVersions(scanner, registry);
  const module = parseHeader(scanner);
  while (!scanner.atEnd) {
    if (!scanner.acceptWord('func')) scanner.fail("'func'");
    module.functions.push(parseFunction(scanner, registry, upgraders));
  }
  const { metadata, ...rest } = module;
  const result: Module = { ...rest, metadata: Object.fromEntries(metadata) };
  verifyModule(result, { registry });
  return result;
}

/** `quaver 1 opset core@1` */
function parseVersions(scanner: Scanner, registry: OpRegistry): void {
  scanner.expectWord('quaver');
  const position = scanner.position;
  const version = scanner.count('a format version');
  scanner.at(position, () => checkFormatVersion(version));
  if (!scanner.acceptWord('opset')) return;
  do {
    const at = scanner.position;
    const opset = parseOpset(scanner);
    scanner.at(at, () => checkOpsets([opset], registry));
  } while (scanner.accept(','));
}

function parseOpset(scanner: Scanner): Opset {
  let domain = scanner.identifier('an op domain');
  while (scanner.accept('.')) domain += `.${scanner.identifier('a part of an op domain')}`;
  scanner.expect('@');
  return { domain, version: scanner.count('an opset version') };
}

interface ModuleParts {
  name: string;
  readonly symbols: SymbolicDim[];
  readonly parameters: Parameter[];
  readonly states: StateVariable[];
  readonly functions: ReturnType<typeof parseFunction>[];
  readonly metadata: Map<string, string>;
  readonly attachments: Map<string, TensorData>;
}

function parseHeader(scanner: Scanner): ModuleParts {
  scanner.expectWord('module');
  const module: ModuleParts = {
    name: scanner.string('the name of the module, in quotes'),
    symbols: [],
    parameters: [],
    states: [],
    functions: [],
    metadata: new Map(),
    attachments: new Map(),
  };
  for (;;) {
    if (scanner.acceptWord('symbol')) module.symbols.push(parseSymbol(scanner));
    else if (scanner.acceptWord('parameter')) module.parameters.push(parseParameter(scanner));
    else if (scanner.acceptWord('state')) module.states.push(parseTyped(scanner, 'a state name, in quotes'));
    else if (scanner.acceptWord('metadata')) parseMetadata(scanner, module.metadata);
    else if (scanner.acceptWord('attachment')) parseAttachment(scanner, module.attachments);
    else return module;
  }
}

/** `B 1..8 multiple 2`; without an upper end the symbol is unbounded. */
function parseSymbol(scanner: Scanner): SymbolicDim {
  const name = scanner.identifier('a symbol');
  const min = scanner.count('the smallest size');
  scanner.expect('..');
  const max = scanner.seesNumber() ? scanner.count('the largest size') : Number.POSITIVE_INFINITY;
  const multiple = scanner.acceptWord('multiple') ? scanner.count('a multiple') : 1;
  return { name, min, max, multiple };
}

function parseTyped(scanner: Scanner, what: string): StateVariable {
  const name = scanner.string(what);
  scanner.expect(':');
  return { name, type: parseType(scanner) };
}

function parseParameter(scanner: Scanner): Parameter {
  const { name, type } = parseTyped(scanner, 'a parameter name, in quotes');
  return { name, type: type as ConcreteType, data: undefined, trainable: !scanner.acceptWord('frozen') };
}

function parseMetadata(scanner: Scanner, metadata: Map<string, string>): void {
  const position = scanner.position;
  const key = scanner.string('a metadata key, in quotes');
  if (metadata.has(key))
    scanner.refuse('text-duplicate', `the metadata key ${JSON.stringify(key)} is given twice`, position);
  scanner.expect('=');
  metadata.set(key, scanner.string('a metadata value, in quotes'));
}

function parseAttachment(scanner: Scanner, attachments: Map<string, TensorData>): void {
  const position = scanner.position;
  const name = scanner.string('an attachment name, in quotes');
  if (attachments.has(name))
    scanner.refuse('text-duplicate', `the attachment ${JSON.stringify(name)} is given twice`, position);
  const byteLength = scanner.count('the number of bytes');
  scanner.expectWord('bytes');
  attachments.set(name, { byteLength, read: () => Promise.reject(withoutData(name)) });
}

function withoutData(name: string): QuaverError {
  return new QuaverError('module-no-data', `the attachment '${name}' has no data`, {
    hint: 'The text form holds structure only: read the .qvr file instead.',
    where: { attachment: name },
  });
}
