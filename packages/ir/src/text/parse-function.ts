/** @file Parses one function of the text form. */
import type { Dim } from '../dim.ts';
import { type Upgraders, upgradeNode } from '../file/upgrade.ts';
import type {
  Attributes,
  AttributeValue,
  FunctionOutput,
  GraphFunction,
  MemoryPlan,
  Node,
  Update,
  Value,
} from '../module.ts';
import type { OpRegistry } from '../registry.ts';
import { formatType, sameType, type TensorType } from '../type.ts';
import { parseAttributeValue, parseDimension, parseType } from './parse-type.ts';
import type { Scanner } from './scanner.ts';

/** A function from after the word `func`. */
export function parseFunction(scanner: Scanner, registry: OpRegistry, upgraders: Upgraders): GraphFunction {
  return new FunctionParser(scanner, registry, upgraders).parse();
}

class FunctionParser {
  readonly #scanner: Scanner;
  readonly #registry: OpRegistry;
  readonly #upgraders: Upgraders;
  readonly #values = new Map<string, Value>();

  constructor(scanner: Scanner, registry: OpRegistry, upgraders: Upgraders) {
    this.#scanner = scanner;
    this.#registry = registry;
    this.#upgraders = upgraders;
  }

  parse(): GraphFunction {
    const scanner = this.#scanner;
    scanner.expect('@');
    const name = scanner.name('a function name');
    scanner.expect('(');
    const values = scanner.list(')', () => this.#argument());
    const argumentsOf = (kind: Value['kind']) => values.filter((value) => value.kind === kind);
    scanner.expect('->');
    scanner.expect('(');
    const declared = scanner.list(')', () => this.#declaredOutput());
    scanner.expect('{');
    const nodes: Node[] = [];
    while (scanner.sees('%')) for (const node of this.#node()) nodes.push(node);
    const updates: Update[] = [];
    while (scanner.acceptWord('update')) updates.push(this.#update());
    const outputs = this.#return(declared);
    const plan = scanner.acceptWord('plan') ? this.#plan() : undefined;
    scanner.expect('}');
    return {
      name,
      inputs: argumentsOf('input'),
      parameters: argumentsOf('parameter'),
      states: argumentsOf('state'),
      nodes,
      outputs,
      updates,
      plan,
    };
  }

  /** `%x: f32[B]`, `%w: f32[64] @"parameter"` or `%k: bf16[B,S] state @"state"` */
  #argument(): Value {
    const scanner = this.#scanner;
    const position = scanner.position;
    const name = scanner.value();
    scanner.expect(':');
    const type = parseType(scanner);
    const isState = scanner.acceptWord('state');
    if (isState && !scanner.sees('@')) scanner.fail("'@' and the name of the state");
    if (!scanner.accept('@')) return this.#define({ kind: 'input', name, type, ref: undefined }, position);
    const ref = scanner.string('the name of a parameter or state, in quotes');
    return this.#define({ kind: isState ? 'state' : 'parameter', name, type, ref }, position);
  }

  #declaredOutput(): { readonly name: string; readonly type: TensorType } {
    const name = this.#scanner.name('an output name');
    this.#scanner.expect(':');
    return { name, type: parseType(this.#scanner) };
  }

  /** `%q, %s = domain.op@2(%x, _) {axis=1} : f32[B], f32[] !key("value") loc("layer")` */
  #node(): readonly Node[] {
    const scanner = this.#scanner;
    const start = scanner.position;
    const names = [this.#resultName()];
    while (scanner.accept(',')) names.push(this.#resultName());
    scanner.expect('=');
    const position = scanner.position;
    const op = this.#op();
    scanner.expect('(');
    const operands = scanner.list(')', () => (scanner.acceptWord('_') ? undefined : this.#use()));
    const attributes = scanner.accept('{') ? this.#attributes() : {};
    scanner.expect(':');
    const types = [parseType(scanner)];
    while (scanner.accept(',')) types.push(parseType(scanner));
    if (types.length !== names.length) {
      scanner.refuse(
        'text-syntax',
        `expected ${names.length} types, one for each result, found ${types.length}`,
        start,
      );
    }
    const results = names.map(({ name, position: at }, i) =>
      this.#define({ kind: 'result', name, type: types[i]!, ref: undefined }, at),
    );
    const annotations = this.#annotations();
    const location = scanner.acceptWord('loc') ? this.#quotedArgument('a location') : '';
    const node: Node = { ...op, operands, results, attributes, location, annotations };
    return scanner.at(position, () => upgradeNode(node, this.#upgraders).map((current) => this.#withDefaults(current)));
  }

  #resultName(): { readonly name: string; readonly position: number } {
    const position = this.#scanner.position;
    return { name: this.#scanner.value(), position };
  }

  /** `op`, `domain.op` or `domain.op@version` */
  #op(): Pick<Node, 'domain' | 'op' | 'version'> {
    const scanner = this.#scanner;
    const parts = [scanner.identifier('an op')];
    while (scanner.accept('.')) parts.push(scanner.identifier('an op'));
    const op = parts.pop()!;
    const version = scanner.accept('@') ? scanner.count('an op version') : 1;
    return { domain: parts.length === 0 ? 'core' : parts.join('.'), op, version };
  }

  #withDefaults(node: Node): Node {
    const { attributes: specs } = this.#registry.get(node.domain, node.op, node.version);
    const missing = Object.entries(specs).filter(
      ([name, spec]) => spec.default !== undefined && !Object.hasOwn(node.attributes, name),
    );
    if (missing.length === 0) return node;
    const defaults = Object.fromEntries(missing.map(([name, spec]) => [name, spec.default!]));
    return { ...node, attributes: { ...node.attributes, ...defaults } };
  }

  #attributes(): Attributes {
    const scanner = this.#scanner;
    return this.#record(
      scanner.list('}', () => {
        const position = scanner.position;
        const name = scanner.name('an attribute name');
        scanner.expect('=');
        return [name, parseAttributeValue(scanner) as AttributeValue, position] as const;
      }),
    );
  }

  #annotations(): Readonly<Record<string, string>> {
    const scanner = this.#scanner;
    const entries: [string, string, number][] = [];
    while (scanner.accept('!')) {
      const position = scanner.position;
      const key = scanner.name('an annotation key');
      entries.push([key, this.#quotedArgument('an annotation'), position]);
    }
    return this.#record(entries);
  }

  #record<T>(entries: readonly (readonly [string, T, number])[]): Readonly<Record<string, T>> {
    const known = new Set<string>();
    for (const [key, , position] of entries) {
      if (known.has(key)) this.#scanner.refuse('text-duplicate', `'${key}' is given twice`, position);
      known.add(key);
    }
    return Object.fromEntries(entries.map(([key, value]) => [key, value]));
  }

  #quotedArgument(what: string): string {
    this.#scanner.expect('(');
    const text = this.#scanner.string(`${what}, in quotes`);
    this.#scanner.expect(')');
    return text;
  }

  /** `update "state" = %x` or `update parameter "weight" = %x` */
  #update(): Update {
    const target = this.#scanner.acceptWord('parameter') ? 'parameter' : 'state';
    const name = this.#scanner.string(`a ${target} name, in quotes`);
    this.#scanner.expect('=');
    return { target, name, value: this.#use() };
  }

  #return(declared: readonly { readonly name: string; readonly type: TensorType }[]): FunctionOutput[] {
    const scanner = this.#scanner;
    scanner.expectWord('return');
    return declared.map(({ name, type }, i) => {
      if (i > 0) scanner.expect(',');
      const position = scanner.position;
      const value = this.#use();
      if (!sameType(value.type, type)) {
        const types = `${formatType(type)} is declared, %${value.name} is ${formatType(value.type)}`;
        scanner.refuse('text-type', `output ${name}: ${types}`, position);
      }
      return { name, value };
    });
  }

  /** `slot 1024*B: %x, %y` lines between braces. */
  #plan(): MemoryPlan {
    const scanner = this.#scanner;
    const slots: Dim[] = [];
    const slotOf: Record<string, number> = Object.create(null);
    scanner.expect('{');
    while (!scanner.accept('}')) {
      scanner.expectWord('slot');
      slots.push(parseDimension(scanner));
      scanner.expect(':');
      while (scanner.sees('%')) {
        const position = scanner.position;
        const { name } = this.#use();
        if (name in slotOf) scanner.refuse('text-duplicate', `%${name} has two slots`, position);
        slotOf[name] = slots.length - 1;
        if (!scanner.accept(',')) break;
      }
    }
    return { slots, slotOf };
  }

  #define(value: Value, position: number): Value {
    if (this.#values.has(value.name)) {
      this.#scanner.refuse('text-duplicate', `%${value.name} is defined twice`, position);
    }
    this.#values.set(value.name, value);
    return value;
  }

  #use(): Value {
    const position = this.#scanner.position;
    const name = this.#scanner.value();
    const value = this.#values.get(name);
    if (value) return value;
    throw this.#scanner.refuse('text-undefined', `%${name} is not defined before this`, position);
  }
}
