import { copyFileSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { names, quaver, quaverJson, removeFolder, temporaryFolder, tinyCheckpoint } from './run-quaver.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);
const checkpoint = tinyCheckpoint(folder);
const model = at('model.qvr');

beforeAll(async () => {
  await quaverJson(['import', checkpoint, '-o', model]);
});

afterAll(() => removeFolder(folder));

/** Runs a command that must fail; the error has to be one paragraph with a stable code and a hint. */
async function failure(...args: string[]) {
  const { code, stdout, stderr } = await quaver(args);
  const lines = stderr.trimEnd().split('\n');
  const [, errorCode, message] = /^error \[([a-z0-9-]+)\]: (.+)$/.exec(lines[0]!) ?? [];
  expect(stdout).toBe('');
  expect(lines.length).toBeLessThanOrEqual(2);
  expect(stderr).not.toMatch(/^ {4}at /m);
  return { code, errorCode, message, hint: lines[1]?.replace('hint: ', '') };
}

describe('a wrong command line ends with 2', () => {
  it.each([
    ['no command', [], 'a command is missing'],
    ['an unknown command', ['compil'], "unknown command 'compil' (Did you mean compile?)"],
    ['a missing subcommand', ['eval'], 'a command is missing'],
    ['an unknown flag', ['doctor', '--fast'], "unknown option '--fast'"],
    ['a missing argument', ['generate'], "missing required argument 'model'"],
    ['a missing option', ['import', 'x'], "required option '-o, --output <file>' not specified"],
    ['one argument too many', ['doctor', 'x'], 'too many arguments'],
    ['a bad number', ['generate', 'm', '-p', 'x', '--top-p', '1.5'], 'Expected a number above 0 and up to 1'],
    ['a bad integer', ['parity', 'm', '--tokens', '-3'], 'Expected a positive integer'],
    ['a bad choice', ['compile', 'm', '-o', 'x', '--kv-cache', 'int4'], 'Allowed choices are bf16, fp8'],
  ])('%s', async (_name, args, expected) => {
    const { code, errorCode, message, hint } = await failure(...args);
    expect([code, errorCode]).toEqual([2, 'usage']);
    expect(message).toContain(expected);
    expect(hint).toContain('--help');
  });

  it('options that exclude each other, and an output that is the input', async () => {
    expect(await failure('generate', model)).toMatchObject({ code: 2, errorCode: 'usage' });
    expect(await failure('generate', model, '-p', 'x', '--system', 'y')).toMatchObject({ code: 2, errorCode: 'usage' });
    expect(await failure('compile', model, '-o', model)).toMatchObject({ code: 2, errorCode: 'usage' });
  });
});

describe('--json', () => {
  it('reports errors as one document on standard output', async () => {
    const { code, stdout, stderr } = await quaver(['inspect', at('missing.qvr'), '--json']);
    expect([code, stderr]).toEqual([1, '']);
    expect(JSON.parse(stdout).error).toMatchObject({ code: 'file-not-found', where: { file: at('missing.qvr') } });
  });

  it('also for a wrong command line', async () => {
    const { code, stdout } = await quaver(['inspect', '--json']);
    expect([code, JSON.parse(stdout).error.code]).toEqual([2, 'usage']);
  });
});

describe('import', () => {
  it('names a checkpoint that is missing, empty, or something else', async () => {
    const output = at('never.qvr');
    expect(await failure('import', at('nowhere'), '-o', output)).toMatchObject({
      code: 1,
      errorCode: 'file-not-found',
    });
    mkdirSync(at('empty'));
    expect(await failure('import', at('empty'), '-o', output)).toMatchObject({ errorCode: 'checkpoint-empty' });
    writeFileSync(at('page.safetensors'), '<html>not found</html>');
    const page = await failure('import', at('page.safetensors'), '-o', output);
    expect(page).toMatchObject({ code: 1, errorCode: 'checkpoint-unrecognised' });
    expect(page.message).toContain('page.safetensors');
    expect(names(folder)).not.toContain('never.qvr');
  });

  it('a truncated checkpoint leaves no output', async () => {
    mkdirSync(at('cut'));
    for (const name of names(checkpoint)) copyFileSync(path.join(checkpoint, name), path.join(at('cut'), name));
    truncateSync(path.join(at('cut'), 'model.safetensors'), 50_000);
    const { code, message } = await failure('import', at('cut'), '-o', at('cut.qvr'));
    expect(code).toBe(1);
    expect(message).toContain('model.safetensors');
    expect(names(folder).filter((name) => name.includes('cut.qvr'))).toEqual([]);
  });

  it('a model of another architecture is refused by name', async () => {
    mkdirSync(at('other'));
    for (const name of names(checkpoint)) copyFileSync(path.join(checkpoint, name), path.join(at('other'), name));
    const config = JSON.parse(readFileSync(path.join(checkpoint, 'config.json'), 'utf8'));
    const other = { ...config, architectures: ['GPT2LMHeadModel'], model_type: 'gpt2' };
    writeFileSync(path.join(at('other'), 'config.json'), JSON.stringify(other));
    const { errorCode, message } = await failure('import', at('other'), '-o', at('other.qvr'));
    expect(errorCode).toBe('model-architecture-unsupported');
    expect(message).toContain('GPT2LMHeadModel');
  });

  it('an output that cannot be written is refused before any work', async () => {
    const inFile = path.join(checkpoint, 'config.json', 'model.qvr');
    expect(await failure('import', checkpoint, '-o', inFile)).toMatchObject({ code: 1, errorCode: 'file-not-found' });
    expect(await failure('import', checkpoint, '-o', folder)).toMatchObject({
      code: 1,
      errorCode: 'file-is-directory',
    });
    const nowhere = at('no/such/folder/model.qvr');
    expect(await failure('import', checkpoint, '-o', nowhere)).toMatchObject({ code: 1, errorCode: 'file-not-found' });
  });

  it('a report may not replace the model, the output or the recipe', async () => {
    const model = at('kept.qvr');
    expect((await quaver(['import', checkpoint, '-o', model, '-q'])).code).toBe(0);
    const before = readFileSync(model);
    const recipe = at('recipe.json');
    writeFileSync(recipe, '{}');
    const output = at('out.qvr');
    for (const [report, name] of [
      [model, 'fp8-block'],
      [output, 'fp8-block'],
      [recipe, recipe],
    ] as const) {
      const found = await failure('compile', model, '--recipe', name, '-o', output, '--report', report);
      expect(found, report).toMatchObject({ code: 2, errorCode: 'usage' });
    }
    expect(readFileSync(model).equals(before)).toBe(true);
    expect(existsSync(output)).toBe(false);
    expect(readFileSync(recipe, 'utf8')).toBe('{}');
  });

  it('a device that takes no output is one paragraph, not a stack', async () => {
    const { code, stderr } = await quaver(['doctor'], { shell: '"$@" > /dev/full' });
    expect(stderr).not.toContain('    at ');
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^error \[output-not-writable\]: .*ENOSPC/)]);
  });

  it('a file that may not grow is reported, and nothing is left', async () => {
    mkdirSync(at('small'));
    const { code, stderr } = await quaver(['import', checkpoint, '-o', path.join(at('small'), 'model.qvr')], {
      shell: 'ulimit -f 50; "$@"',
      env: { NODE_COMPILE_CACHE: '' },
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error \[file-too-large\]: .*model\.qvr/);
    expect(names(at('small'))).toEqual([]);
  });
});

describe('a model file', () => {
  it.each(['inspect', 'generate', 'parity'])('%s of a checkpoint says how to import it', async (command) => {
    const prompt = command === 'generate' ? ['--prompt', 'x'] : [];
    const file = path.join(checkpoint, 'model.safetensors');
    const { code, errorCode, hint } = await failure(command, file, ...prompt);
    expect([code, errorCode]).toEqual([1, 'model-not-imported']);
    expect(hint).toContain(`quaver import ${file}`);
  });

  it('that is a folder, truncated or forged', async () => {
    expect(await failure('inspect', checkpoint)).toMatchObject({ errorCode: 'model-not-imported' });
    copyFileSync(model, at('short.qvr'));
    truncateSync(at('short.qvr'), 20_000);
    expect(await failure('inspect', at('short.qvr'))).toMatchObject({ code: 1, errorCode: 'module-truncated' });
    const forged = readFileSync(model);
    forged.fill(0xff, 100, 400);
    writeFileSync(at('forged.qvr'), forged);
    const { code, errorCode, message } = await failure('inspect', at('forged.qvr'));
    expect(code).toBe(1);
    expect(errorCode).toMatch(/^(module|verify)-/);
    expect(message).toContain('forged.qvr');
  });

  it('without a function of that name', async () => {
    const { errorCode, hint } = await failure('inspect', model, '--function', 'train');
    expect(errorCode).toBe('function-unknown');
    expect(hint).toContain('prefill, decode, score, logprobs');
  });
});

describe('compile', () => {
  it('names what is wrong with a recipe', async () => {
    const compile = (recipe: string) => failure('compile', model, '-o', at('x.qvr'), '--recipe', recipe);
    expect(await compile('fp9')).toMatchObject({ code: 1, errorCode: 'recipe-unknown' });
    expect(await compile(at('none.json'))).toMatchObject({ code: 1, errorCode: 'file-not-found' });
    writeFileSync(at('broken.json'), '{"name": ');
    expect(await compile(at('broken.json'))).toMatchObject({ code: 1, errorCode: 'recipe-invalid' });
    writeFileSync(at('wrong.json'), '{"name": "x", "generate": {"linear": "int8"}, "train": {"linear": "f32"}}');
    const wrong = await compile(at('wrong.json'));
    expect(wrong.errorCode).toBe('recipe-invalid');
    expect(wrong.message).toContain('generate.linear');
    expect(names(folder)).not.toContain('x.qvr');
  });

  it('an unknown pass is a failure that lists the passes', async () => {
    const { errorCode, hint } = await failure('compile', model, '-o', at('x.qvr'), '--only', 'fp8-lower,polish');
    expect(errorCode).toBe('pass-unknown');
    expect(hint).toContain('plan-memory');
  });
});

describe('generate', () => {
  it('refuses a prompt that is longer than the context', async () => {
    writeFileSync(at('long.txt'), 'word '.repeat(40));
    const { code, errorCode, message } = await failure('generate', model, '--prompt-file', at('long.txt'));
    expect([code, errorCode]).toEqual([1, 'prompt-too-long']);
    expect(message).toContain('the prompt has 200 tokens, the context 128');
  });

  it('refuses an empty prompt, a recipe for a compiled model, and an executor that does not exist', async () => {
    expect(await failure('generate', model, '--prompt', '')).toMatchObject({ code: 1, errorCode: 'prompt-empty' });
    const generate = ['generate', model, '--prompt', 'x'];
    expect(await failure(...generate, '--executor', 'gpu')).toMatchObject({ code: 1, errorCode: 'executor-unknown' });
    writeFileSync(at('plugin.mjs'), 'export default { apiVersion: 2 };');
    const plugin = await failure(...generate, '--executor', at('plugin.mjs'));
    expect(plugin).toMatchObject({ code: 1, errorCode: 'executor-plugin-invalid' });
    await quaverJson(['compile', model, '-o', at('bf16.qvr'), '--recipe', 'bf16']);
    const compiled = ['generate', at('bf16.qvr'), '--prompt', 'x', '--recipe', 'f32'];
    expect(await failure(...compiled)).toMatchObject({ code: 2, errorCode: 'usage' });
  });

  it('refuses bytes that are no text', async () => {
    writeFileSync(at('bytes.bin'), new Uint8Array([0xff, 0xfe, 0x00, 0x80]));
    const generated = await failure('generate', model, '--prompt-file', at('bytes.bin'));
    expect(generated).toMatchObject({ code: 1, errorCode: 'text-invalid' });
    const scored = await failure('eval', 'perplexity', model, '--text', at('bytes.bin'));
    expect(scored).toMatchObject({ code: 1, errorCode: 'text-invalid' });
  });

  it('a model without a tokenizer says what is missing', async () => {
    mkdirSync(at('mute'));
    for (const name of ['config.json', 'model.safetensors']) {
      copyFileSync(path.join(checkpoint, name), path.join(at('mute'), name));
    }
    await quaverJson(['import', at('mute'), '-o', at('mute.qvr')]);
    const { code, errorCode } = await failure('generate', at('mute.qvr'), '--prompt', 'x');
    expect([code, errorCode]).toEqual([1, 'tokenizer-missing']);
  });
});

describe('pull', () => {
  it('refuses names that it does not know', async () => {
    expect(await failure('pull', 'gpt-9')).toMatchObject({ code: 1, errorCode: 'model-reference-unknown' });
    expect(await failure('pull', 'hf:nothing')).toMatchObject({ code: 1, errorCode: 'model-reference-invalid' });
  });
});
