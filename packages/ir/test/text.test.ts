/** The text form: what it looks like, what the parser takes, and what it says about mistakes. */
import {
  attribute,
  coreOps,
  defineOp,
  GraphBuilder,
  type Module,
  OpRegistry,
  parseModule,
  printModule,
  readModuleBytes,
  writeModuleBytes,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { structureWithoutData } from './support/contents.ts';
import { randomModule } from './support/random-module.ts';
import { decoderModule, moduleOf, richModule, tinyModule } from './support/sample-modules.ts';

const tinyText = `quaver 1 opset core@1
module "tiny"
symbol B 1..8
symbol T 0..
symbol S 128..2048 multiple 128
parameter "w": f32[4]

func @main(%x: f32[B,4], %w: f32[4] @"w") -> (y: f32[B,4]) {
  %broadcast_in_dim = broadcast_in_dim(%w) {shape=[B, 4], dims=[1]} : f32[B,4]
  %add = add(%x, %broadcast_in_dim) : f32[B,4]
  return %add
}
`;

test('a small module reads like this', () => {
  expect(printModule(tinyModule())).toBe(tinyText);
});

describe('printing and parsing', () => {
  test.each([tinyModule(), richModule(), decoderModule(3), moduleOf([])])('round-trips: $name', (module) => {
    const text = printModule(module);
    const parsed = parseModule(text);
    expect(printModule(parsed)).toBe(text);
    expect(structureWithoutData(parsed)).toEqual(structureWithoutData(module));
  });

  test('round-trips random modules, also through files', async () => {
    await fc.assert(
      fc.asyncProperty(randomModule, async (module) => {
        const text = printModule(module);
        const parsed = parseModule(text);
        expect(printModule(parsed)).toBe(text);
        expect(structureWithoutData(parsed)).toEqual(structureWithoutData(module));
        expect(printModule(readModuleBytes(await writeModuleBytes(module)))).toBe(text);
      }),
      { numRuns: 200 },
    );
  });

  test('keeps every double', () => {
    fc.assert(
      fc.property(fc.double(), (value) => {
        const g = new GraphBuilder('f');
        g.output('y', g.constant(value));
        const parsed = parseModule(printModule(moduleOf([g.finish()])));
        expect(Object.is(parsed.functions[0]!.nodes[0]!.attributes.value, value)).toBe(true);
      }),
    );
  });

  test('keeps every string where text stands', () => {
    const strings = fc.string({ unit: 'binary', maxLength: 30 });
    fc.assert(
      fc.property(strings, strings, strings, (name, key, value) => {
        const g = new GraphBuilder(name);
        const x = g.input('x', 'f32', []);
        g.output(key, g.op('negate', [x], {}, { location: value, annotations: { [key]: value } }));
        const module = moduleOf([g.finish()], { name: value, metadata: { [key]: value } });
        expect(structureWithoutData(parseModule(printModule(module)))).toEqual(structureWithoutData(module));
      }),
    );
  });
});

test('a word that reads like a number or a truth is quoted', () => {
  const words = ['true', 'false', 'NaN', 'Infinity', 'with blank', '', 'plain'];
  const spell = defineOp('spell', {
    ...{ domain: 'test', version: 1, summary: 'names something', results: ['y'] },
    operands: { x: { dtypes: ['f32'] } },
    attributes: { word: attribute.oneOf(words) },
    infer: ({ x }) => [x],
  });
  const registry = new OpRegistry([spell]);
  for (const word of words) {
    const g = new GraphBuilder('f');
    g.output('y', g.apply(spell, [g.input('x', 'f32', [])], { word })[0]!);
    const text = printModule(moduleOf([g.finish()]));
    expect(text.includes(`{word=${JSON.stringify(word)}}`)).toBe(word !== 'plain');
    expect(parseModule(text, { registry }).functions[0]!.nodes[0]!.attributes).toEqual({ word });
  }
});

/** The body of a function over %x: f32[B,4] that returns %y: f32[B,4]. */
const body = (nodes: string, header = '') => `quaver 1
module "m"
symbol B 1..
${header}
func @f(%x: f32[B,4]) -> (y: f32[B,4]) {
${nodes}
  return %y
}`;

describe('the parser takes', () => {
  test('comments, blanks and line breaks anywhere', () => {
    const text = tinyText.replaceAll(/(?<!")([(),:={}])(?!")/g, ' // a comment (\n $1\r\n\t');
    expect(printModule(parseModule(text))).toBe(tinyText);
  });

  test('attributes that have defaults may be left out', () => {
    const parsed = parseModule(body('%y = convert(%x) {to=f32} : f32[B,4]'));
    expect(parsed.functions[0]!.nodes[0]!.attributes).toEqual({ to: 'f32', saturate: true });
  });

  test('dimensions in any order become canonical', () => {
    const text =
      'quaver 1 module "m" symbol T 1.. symbol B 1.. state "s": f32[T * B * 2, ceildiv(256*T,128), ceildiv( T , 7 )*3, 2*3]';
    expect(parseModule(text).states[0]!.type.shape).toEqual(['2*B*T', '2*T', '3*ceildiv(T,7)', 6]);
  });

  test('the default domain and version spelled out', () => {
    expect(printModule(parseModule(body('%y = core.negate@1(%x) : f32[B,4]')))).toContain('%y = negate(%x)');
  });

  test('a comma after the last item', () => {
    const text = body('%y = add(%x, %x,) : f32[B,4]').replace('f32[B,4])', 'f32[B,4],)');
    expect(parseModule(text).functions[0]!.nodes).toHaveLength(1);
  });
});

function refusal(text: string): QuaverError {
  try {
    parseModule(text);
  } catch (error) {
    if (error instanceof QuaverError) return error;
    throw error;
  }
  throw new Error(`accepted: ${text}`);
}

describe('mistakes are named with line and column', () => {
  test.each(
    [
      ['', 'text-syntax', "1:1: expected 'quaver', found the end of the line"],
      ['graph 1', 'text-syntax', `1:1: expected 'quaver', found "graph 1"`],
      ['quaver one', 'text-syntax', `1:8: expected a format version, found "one"`],
      ['quaver 0\nmodule "m"', 'module-version', '1:8: the module has format version 0, formats start at 1'],
      ['quaver 7\nmodule "m"', 'module-version', '1:8: the module has format version 7, this release reads up to 1'],
      [
        'quaver 1 opset nn@1\nmodule "m"',
        'op-unknown',
        "1:16: the module uses the op domain 'nn', which is not registered",
      ],
      ['quaver 1\n  module m', 'text-syntax', `2:10: expected the name of the module, in quotes, found "m"`],
      [
        'quaver 1\nmodule "m',
        'text-syntax',
        '2:10: expected a closing quote on the same line, found the end of the line',
      ],
      ['quaver 1\nmodule "\\x"', 'text-syntax', `2:8: expected a string with the escapes of JSON, found "\\"\\\\x\\""`],
      ['quaver 1 module "m" parameter "p": f33[1]', 'text-syntax', "1:36: expected a dtype, found 'f33'"],
      [
        'quaver 1 module "m" parameter "p": f32[1',
        'text-syntax',
        "1:41: expected ',' or ']', found the end of the line",
      ],
      ['quaver 1 module "m" parameter "p": f32[-1]', 'text-syntax', `1:40: expected a size, found "-1]"`],
      [
        'quaver 1 module "m" parameter "p": f32[99999999999999999999]',
        'text-syntax',
        '1:40: expected a size below 2^53',
      ],
      ['quaver 1 module "m" state "s": f32[ceildiv(B,0)]', 'dim-syntax', "1:36: 'ceildiv(B,0)' is not a dimension"],
      ['quaver 1 module "m" state "s": f32[B]', 'verify-symbol', 'undeclared symbol B'],
      [
        'quaver 1 module "m" metadata "a" = "1" metadata "a" = "2"',
        'text-duplicate',
        '1:49: the metadata key "a" is given twice',
      ],
      [
        'quaver 1 module "m" attachment "a" 5 bytes attachment "a" 5 bytes',
        'text-duplicate',
        '1:55: the attachment "a" is given twice',
      ],
      ['quaver 1 module "m" attachment "a" 5', 'text-syntax', "1:37: expected 'bytes'"],
      ['quaver 1 module "m" garbage', 'text-syntax', `1:21: expected 'func', found "garbage"`],
      [body('  %y = negate(%x)'), 'text-syntax', `7:3: expected ':', found "return %y"`],
      [body('  %y = negate(%z) : f32[B,4]'), 'text-undefined', '6:15: %z is not defined before this'],
      [body('  %x = negate(%x) : f32[B,4]'), 'text-duplicate', '6:3: %x is defined twice'],
      [body('  %y = nagate(%x) : f32[B,4]'), 'op-unknown', '6:8: unknown op core.nagate@1'],
      [
        body('  %y = negate(%x) : f32[B,4], f32[B,4]'),
        'text-syntax',
        '6:3: expected 1 types, one for each result, found 2',
      ],
      [body('  %y = negate(%x) {a=1, a=2} : f32[B,4]'), 'text-duplicate', "6:25: 'a' is given twice"],
      [body('  %y = negate(%x) {a} : f32[B,4]'), 'text-syntax', `6:21: expected '=', found "} : f32[B,4]"`],
      [
        body('  %y = negate(%x) {a=%x} : f32[B,4]'),
        'text-syntax',
        '6:22: expected a number, a word, a string or a list',
      ],
      [body('  %y = negate(%x) : f32[B,4] !a("1") !a("2")'), 'text-duplicate', "6:39: 'a' is given twice"],
      [body('  %y = negate(%x) : f32[4,B]'), 'text-type', '7:10: output y: f32[B,4] is declared, %y is f32[4,B]'],
      [
        body('  %y = negate(%x) {axis=1} : f32[B,4]'),
        'verify-attributes',
        "function f, node 0 (core.negate@1): op negate has no attribute 'axis'",
      ],
      [
        body('  %y = negate(%x) : f32[B,4]').replace('  return %y', '  return'),
        'text-syntax',
        '8:1: expected a value such as %x',
      ],
      [
        body('  %y = negate(%x) : f32[B,4]').slice(0, -1),
        'text-syntax',
        "8:1: expected '}', found the end of the line",
      ],
      [
        body('  %y = negate(%x) : f32[B,4]').replace('return %y', 'return %y plan { slot 16*B: %y, %y }'),
        'text-duplicate',
        '7:35: %y has two slots',
      ],
      [
        body('  %y = negate(%x) : f32[B,4]').replace('f32[B,4])', 'f32[B,4], %k: f32[] state)'),
        'text-syntax',
        "5:38: expected '@' and the name of the state",
      ],
    ].map(([text, code, message]) => [code, message, text] as const),
  )('%s: %s', (code, message, text) => {
    const error = refusal(text!);
    expect(error.message).toContain(message);
    expect(error.code).toBe(code);
    const place = /^(\d+):(\d+):/.exec(error.message);
    if (place) expect(error.where).toMatchObject({ line: Number(place[1]), column: Number(place[2]) });
  });

  test('nesting is limited', () => {
    const deep = `${'ceildiv('.repeat(100_000)}B${',2)'.repeat(100_000)}`;
    expect(refusal(`quaver 1 module "m" state "s": f32[${deep}]`).message).toContain(
      'expected fewer than eight nested ceildiv',
    );
  });
});

describe('work is linear', () => {
  /** Processor time in ms: other work on the machine does not count. */
  const cost = (text: string) => {
    const start = process.cpuUsage();
    try {
      parseModule(text);
    } catch (error) {
      if (!(error instanceof QuaverError)) throw error;
    }
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1000;
  };

  test.each<[string, (n: number) => string]>([
    ['blanks', (n) => ' '.repeat(n)],
    ['comments', (n) => '//\n'.repeat(n / 3)],
    ['an open string', (n) => `quaver 1 module "${'a'.repeat(n)}`],
    ['backslashes', (n) => `quaver 1 module "${'\\'.repeat(n)}`],
    ['an identifier', (n) => 'a'.repeat(n)],
    ['digits', (n) => `quaver ${'1'.repeat(n)}`],
    ['a shape', (n) => `quaver 1 module "m" state "s": f32[${'1,'.repeat(n / 2)}`],
    ['a product', (n) => `quaver 1 module "m" state "s": f32[${'B*'.repeat(n / 2)}`],
    [
      'states',
      (n) => `quaver 1 module "m" ${Array.from({ length: n / 20 }, (_, i) => `state "${i}": f32[1]`).join('\n')}`,
    ],
    ['dots', (n) => body(`%y = ${'a.'.repeat(n / 2)}`)],
    [
      'attributes',
      (n) => body(`%y = negate(%x) {${Array.from({ length: n / 8 }, (_, i) => `a${i}=1`).join(',')}} : f32[B,4]`),
    ],
  ])('%s', (_, make) => {
    cost(make(40_000));
    const small = cost(make(40_000));
    expect(cost(make(400_000))).toBeLessThan(30 * small + 60);
  });
});

test('attachments of a parsed text have a size and no bytes', async () => {
  const module: Module = parseModule('quaver 1 module "m" attachment "tokenizer.json" 12 bytes');
  const data = module.attachments.get('tokenizer.json')!;
  expect(data.byteLength).toBe(12);
  await expect(data.read()).rejects.toMatchObject({ code: 'module-no-data' });
});

test('a registry of its own', () => {
  const registry = new OpRegistry(coreOps.list().filter((op) => op.name === 'negate'));
  expect(parseModule(body('%y = negate(%x) : f32[B,4]'), { registry }).name).toBe('m');
  expect(() => parseModule(tinyText, { registry })).toThrow(expect.objectContaining({ code: 'op-unknown' }));
});
