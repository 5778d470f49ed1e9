/**
 * @file A process on a small disk: one checkpoint fits, the next does not. Prints, as JSON, the codes of the two failures and what is left.
 * Arguments: the run folder, and how large the second checkpoint is in bytes.
 */
import { readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TensorToWrite } from '@quaver/formats';
import { lockRunFolder } from '../../src/checkpoint/run-lock.ts';
import { CheckpointStore } from '../../src/checkpoint/store.ts';

const [run, large] = [process.argv[2]!, Number(process.argv[3])];
const store = await CheckpointStore.open(await lockRunFolder(run), { module: 'm' });
const tensor = (bytes: number, whenRead = async () => {}): TensorToWrite => ({
  name: 'w',
  dtype: 'u8',
  shape: [bytes],
  async read() {
    await whenRead();
    return new Uint8Array(bytes).fill(7);
  },
});
const save = (step: number, parameter: TensorToWrite) =>
  store.save({ step, parameters: [parameter], state: [], json: null }).then(
    () => 'saved',
    (error) => error.code,
  );

const filler = join(run, 'filler');
/** Takes what is free but for some kilobytes, after the writer has seen that there is room. */
async function fill(): Promise<void> {
  const { bavail, bsize } = await statfs(run);
  await writeFile(filler, new Uint8Array(Math.max(0, bavail * bsize - 16_384)));
}

const results = [await save(1, tensor(100_000)), await save(2, tensor(large))];
if (process.argv[4] === 'fill') results.push(await save(3, tensor(200_000, fill)));
await rm(filler, { force: true });
const opened = await store.open(1);
const bytes = await opened.parameters.get('w')!.read();
results.push(bytes.length === 100_000 && bytes.every((byte) => byte === 7) ? 'intact' : 'damaged');
results.push(await save(4, tensor(1000)));
console.log(JSON.stringify({ results, left: (await readdir(join(run, 'checkpoints'))).sort() }));
