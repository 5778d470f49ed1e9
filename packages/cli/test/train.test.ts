import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readModuleFile } from '@quaver/ir/node';
import { openTrainingCheckpoint } from '@quaver/train/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quaver, quaverJson, removeFolder, start, temporaryFolder } from './run-quaver.ts';
import { checkpointNames, readRecords, sums, tinyModel, tinyTraining } from './train-runs.ts';

interface Trained {
  readonly steps: number;
  readonly loss: number;
  readonly val_loss: number;
  readonly tokens_per_s: number;
  readonly parameters_sha256: string;
  readonly model: string;
  readonly folder: string;
}

const folder = temporaryFolder();
const at = (...names: string[]) => path.join(folder, ...names);
tinyTraining(folder, { steps: 6 });
const threads = ['--threads', '1'];
let trained: Trained;

beforeAll(async () => {
  // From the folder above, so that paths that are relative to the configuration would not be found from here.
  trained = await quaverJson<Trained>(['train', '--config', 'files/tiny.json', '--out', 'runs/a', ...threads], {
    cwd: folder,
  });
});

afterAll(() => removeFolder(folder));

/** Runs a command with --json that must fail, and gives its error. */
async function failure(...args: string[]) {
  const { code, stdout, stderr } = await quaver([...args, '--json'], { cwd: folder });
  expect([stderr, stdout.split('\n').length]).toEqual(['', 2]);
  const { error } = JSON.parse(stdout);
  expect(stdout).not.toContain('internal');
  return { exit: code, ...error } as { exit: number; code: string; message: string; hint: string; where: object };
}

describe('a run from a configuration', () => {
  it('ends with one document, whose digest is that of the checkpoint', async () => {
    expect(trained).toMatchObject({ steps: 6, folder: 'runs/a', model: 'runs/a/model.qvr' });
    expect(trained.tokens_per_s).toBeGreaterThan(0);
    const records = readRecords(at('runs/a'));
    expect(records.at(-1)).toMatchObject({ step: 6, loss: trained.loss, val_loss: trained.val_loss });
    expect(trained.loss).toBeLessThan(records[0]!.loss as number);
    const checkpoint = await openTrainingCheckpoint(at('runs/a'), 6);
    await using module = await readModuleFile(trained.model.replace('runs', at('runs')));
    const hash = createHash('sha256');
    for (const name of [...checkpoint.parameters.keys()].sort()) {
      const bytes = await checkpoint.parameters.get(name)!.read();
      hash.update(bytes);
      const parameter = module.parameters.find((parameter) => parameter.name === name)!;
      expect([parameter.type.dtype, Buffer.compare(await parameter.data!.read(), bytes)]).toEqual(['f32', 0]);
    }
    expect(trained.parameters_sha256).toBe(hash.digest('hex'));
    await checkpoint.close();
    // What the configuration names is found from anywhere later.
    const saved = JSON.parse(readFileSync(at('runs/a/config.json'), 'utf8'));
    expect([saved.model.tokenizer, saved.data.files]).toEqual([at('files/tokenizer'), at('files/data.jsonl')]);
  });

  it('the trained model is a model: it generates, and trains on', async () => {
    const { code, stdout, stderr } = await quaver(
      [
        'train',
        '--model',
        'runs/a/model.qvr',
        '--data',
        'files/data.jsonl',
        '--steps',
        '3',
        '--out',
        'runs/b',
        ...threads,
      ],
      { cwd: folder },
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^3 steps, loss \d\.\d{4}, validation loss \d\.\d{4} \(before: \d\.\d{4}\), \d+ tokens\/s\nruns\/b\/model\.qvr: the trained model\nruns\/b\/report\.html: the report\n$/,
    );
    // Without a terminal: a line for each evaluation and checkpoint, no control characters.
    expect(stderr).toMatch(/^step 1: validation loss \d\.\d{4}\nstep 1: runs\/b\/checkpoints\/step-00000001$/m);
    expect(stderr).not.toContain('\u001b');
    // The first loss is about where the model was: it was not begun anew.
    const [first] = readRecords(at('runs/b'));
    expect(first!.loss).toBeLessThan(trained.loss + 1);
    // Rows are no longer than the model's context, which is shorter than usual rows.
    expect(JSON.parse(readFileSync(at('runs/b/config.json'), 'utf8')).batch).toMatchObject({ rows: 4, tokens: 64 });
    const run = ['generate', 'runs/b/model.qvr', '--chat', '--prompt', '1 + 2 = ?', '-n', '8', '--temperature', '0'];
    expect((await quaverJson<{ tokens: number[] }>(run, { cwd: folder })).tokens.length).toBeGreaterThan(0);
  });

  it('one short text is trained on whole, and a note says that nothing is held back', async () => {
    writeFileSync(at('files/short.txt'), 'one and two are three. '.repeat(8));
    const short = ['train', '--model', 'runs/a/model.qvr', '--data', 'files/short.txt', '--steps', '40', ...threads];
    const { code, stdout, stderr } = await quaver([...short, '--epochs', '2', '--out', 'runs/short'], { cwd: folder });
    expect(stderr).toMatch(/^The data is one example: nothing is held back for validation\.$/m);
    expect(stderr).not.toContain('validation loss');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[2-9] steps \(2 passes over the data\), loss \d\.\d{4}, \d+ tokens\/s$/m);
    const saved = JSON.parse(readFileSync(at('runs/short/config.json'), 'utf8'));
    expect([saved.epochs, saved.evaluate, saved.data.validation]).toEqual([2, undefined, undefined]);
    // Who asks for a split is told that there is none.
    const asked = await failure(...short, '--validation-fraction', '0.2', '--out', 'runs/asked');
    expect(asked).toMatchObject({ exit: 1, code: 'validation-split-impossible' });
  });

  it('a checkpoint becomes a model, the best one too', async () => {
    const latest = await quaverJson(['export', 'runs/a', '--checkpoint', 'latest', '-o', 'latest.qvr'], {
      cwd: folder,
    });
    expect(latest).toMatchObject({ path: 'latest.qvr', format: 'qvr', step: 6 });
    expect(readFileSync(at('latest.qvr')).equals(readFileSync(at('runs/a/model.qvr')))).toBe(true);
    const best = await quaver(['export', 'runs/a', '--checkpoint', 'best', '--format', 'hf-bf16', '-o', 'best-bf16'], {
      cwd: folder,
    });
    expect([best.code, best.stderr]).toEqual([0, expect.stringMatching(/^The checkpoint of step \d$/m)]);
    expect(readdirSync(at('best-bf16'))).toContain('model.safetensors');
    const none = await failure('export', 'runs/a', '--checkpoint', '77', '-o', 'none.qvr');
    expect(none).toMatchObject({ exit: 1, code: 'checkpoint-not-found' });
    expect(existsSync(at('none.qvr'))).toBe(false);
    const word = await failure('export', 'runs/a', '--checkpoint', 'first', '-o', 'none.qvr');
    expect(word).toMatchObject({ exit: 2, code: 'usage', message: expect.stringContaining('best, latest or a step') });
  });

  it('two runs are compared in one file that needs nothing else', async () => {
    const { code, stdout } = await quaver(['compare', 'runs/a', 'runs/b', '-o', 'report.html', '--json'], {
      cwd: folder,
    });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      output: 'report.html',
      runs: [
        { name: 'a', steps: 6, loss: trained.loss, valLoss: trained.val_loss },
        { name: 'b', steps: 3 },
      ],
    });
    const html = readFileSync(at('report.html'), 'utf8');
    expect(html).toContain('<svg');
    expect(html).not.toMatch(/<script[^>]+src=|<link|(src|href)="https?:/);
    const table = await quaver(['compare', 'runs/a', 'runs/b', '-o', 'report.html'], { cwd: folder });
    expect(table.stdout).toMatch(/run +steps +loss +val_loss/);
    expect(await failure('compare', 'runs/a', 'files')).toMatchObject({ exit: 1, code: 'run-not-a-run' });
  });

  it('help has examples of every way to begin', async () => {
    const { stdout } = await quaver(['train', '--help']);
    for (const start of ['--model model.qvr --data data.jsonl', '--config ', '--resume runs/a']) {
      expect(stdout).toContain(`quaver train ${start}`);
    }
  });
});

describe('bad input', () => {
  const variant = (name: string, changes: object) => {
    tinyTraining(folder, { steps: 6, ...changes }, `${name}.json`);
    return ['train', '--config', `files/${name}.json`, '--out', `runs/${name}`, ...threads];
  };

  it('configurations', async () => {
    expect(await failure(...variant('unknown', { stepz: 3 }))).toMatchObject({
      exit: 1,
      code: 'train-config-invalid',
      message: expect.stringContaining('unknown field stepz'),
      hint: expect.stringContaining('steps'),
    });
    writeFileSync(at('files/broken.json'), '{"model": ');
    expect(await failure('train', '--config', 'files/broken.json')).toMatchObject({
      code: 'train-config-invalid',
      where: { file: 'files/broken.json' },
      hint: expect.stringContaining('JSON'),
    });
    expect(await failure('train', '--config', 'files/none.json')).toMatchObject({ code: 'file-not-found' });
    expect(await failure('train', '--model', 'm.qvr', '--data', 'd')).toMatchObject({ exit: 2, code: 'usage' });
    const both = ['--validation', 'v', '--validation-fraction', '0.1'];
    const all = ['train', '--model', 'm.qvr', '--data', 'd', '--steps', '1', '--out', 'r', ...both];
    expect(await failure(...all)).toMatchObject({ exit: 2, code: 'usage' });
    writeFileSync(at('files/recipe.json'), '{"name": "x", "generate": {"linear": "int8"}, "train": {"linear": "f32"}}');
    const recipe = await failure(...variant('recipe of a file', { recipe: './recipe.json' }));
    expect(recipe).toMatchObject({ code: 'recipe-invalid', message: expect.stringContaining('generate.linear') });
  });

  it('data, with file and line', async () => {
    writeFileSync(at('files/bad.jsonl'), `${sums(3)}{"messages"\n`);
    const file = at('files/bad.jsonl');
    const error = await failure(
      ...variant('bad data', { data: { files: 'bad.jsonl', validation: { fraction: 0.1 } } }),
    );
    expect(error).toMatchObject({ exit: 1, code: 'data-malformed-json', where: { file, line: 4 } });
    expect(error.message).toContain(`${file}:4`);
  });

  it('a model that is compiled, or has no tokenizer', async () => {
    await quaverJson(['compile', 'runs/a/model.qvr', '-o', 'compiled.qvr'], { cwd: folder });
    const flags = ['--data', 'files/data.jsonl', '--steps', '1', '--out', 'runs/compiled', ...threads];
    const compiled = await failure('train', '--model', 'compiled.qvr', ...flags);
    expect(compiled).toMatchObject({ exit: 1, code: 'training-model-compiled', where: { file: at('compiled.qvr') } });
    expect(compiled.hint).toContain('imported');
    mkdirSync(at('files/empty'));
    const model = { config: tinyModel, tokenizer: 'empty' };
    expect(await failure(...variant('no tokenizer', { model }))).toMatchObject({
      code: 'tokenizer-missing',
      where: { file: at('files/empty') },
    });
    expect(existsSync(at('runs/compiled'))).toBe(false);
  });

  it('folders: of another run, of no run, and flags that would change a run', async () => {
    const again = await failure('train', '--config', 'files/tiny.json', '--out', 'runs/a');
    expect(again).toMatchObject({ exit: 1, code: 'run-folder-not-empty' });
    expect(again.hint).toContain('quaver train --resume runs/a');
    expect(await failure('train', '--resume', 'files')).toMatchObject({ exit: 1, code: 'run-not-a-run' });
    expect(await failure('train', '--resume', 'nowhere')).toMatchObject({ exit: 1, code: 'run-not-found' });
    const flags = ['--lr', '1', '--rows', '2', '--validation-fraction', '0.5'];
    const changed = await failure('train', '--resume', 'runs/a', ...flags);
    expect(changed).toMatchObject({ exit: 2, code: 'usage' });
    expect(changed.message).toContain('--validation-fraction, --rows, --lr');
  });

  it('a run whose steps were made fewer, and one without a checkpoint', async () => {
    cpSync(at('runs/a'), at('runs/fewer'), { recursive: true });
    const saved = JSON.parse(readFileSync(at('runs/fewer/config.json'), 'utf8'));
    writeFileSync(at('runs/fewer/config.json'), JSON.stringify({ ...saved, steps: 5 }));
    const fewer = await failure('train', '--resume', 'runs/fewer');
    expect(fewer).toMatchObject({ exit: 1, code: 'run-steps-behind' });
    expect(fewer.hint).toContain('6');
    // Killed before its first checkpoint: it begins again, and its records with it.
    cpSync(at('runs/a'), at('runs/early'), { recursive: true });
    for (const name of checkpointNames(at('runs/early'))) removeFolder(at('runs/early/checkpoints', name));
    const found = await quaverJson<Trained>(['train', '--resume', 'runs/early', ...threads], { cwd: folder });
    expect(found.parameters_sha256).toBe(trained.parameters_sha256);
    expect(readRecords(at('runs/early')).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('a second training on the same folder', async () => {
    const args = variant('long', { steps: 100_000, early_stop: undefined, evaluate: undefined });
    const { child, finished } = start(args, { cwd: folder });
    while (child.exitCode === null && readRecords(at('runs/long')).length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const second = await failure('train', '--resume', 'runs/long');
    child.kill('SIGTERM');
    expect((await finished).code).toBe(143);
    expect(second).toMatchObject({ exit: 1, code: 'run-folder-in-use', where: { pid: child.pid } });
    expect(readdirSync(at('runs/long'))).not.toContain('run.lock');
  });
});

/** A disk of its own, which grows after the first command; most containers and some systems do not let a test mount one. */
const smallDisk = (disk: string, first: string, second: string) => `unshare -rm bash -c '
  mount -t tmpfs -o size=4m none "$0" && { "$@" ${first}; mount -o remount,size=32m "$0"; "$@" ${second}; }' ${disk} "$@"`;

const mayMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

// Where no disk of its own can be mounted, the full disk is that of the store's tests (packages/train/test/checkpoint).
if (mayMount) {
  it('a disk that is full while a checkpoint is written: the run stops, the one before is intact, and it goes on', async () => {
    mkdirSync(at('disk'));
    tinyTraining(folder, { steps: 12, checkpoint: { every: 1, keep_last: 10 } }, 'disk.json');
    const reference = quaverJson<Trained>(['train', '--config', 'files/disk.json', '--out', 'runs/roomy', ...threads], {
      cwd: folder,
    });
    const run = at('disk/run');
    const first = `train --config files/disk.json --out ${run} --threads 1 --json`;
    const { stdout } = await quaver([], {
      cwd: folder,
      shell: smallDisk(at('disk'), first, `train --resume ${run} --threads 1 --json`),
    });
    const expected = await reference;
    const [failed, finished] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(failed.error).toMatchObject({ code: 'checkpoint-disk-full', hint: expect.stringContaining('resume') });
    expect(failed.error.where.step).toBeGreaterThan(1);
    expect(finished.parameters_sha256).toBe(expected.parameters_sha256);
  });
}
