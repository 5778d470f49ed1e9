import type { FileHandle } from 'node:fs/promises';
import { QuaverError } from '@quaver/numerics';
import { chatExample } from '../chat-example.ts';
import { generateProblem, type ProblemOptions } from '../generate-problem.ts';
import type { Split } from '../problem.ts';
import { writeFileAtomically } from './write-file.ts';

export interface WriteDatasetOptions extends ProblemOptions {
  /** A JSONL file; one that is there is replaced. */
  readonly path: string;
  /** Lines: problems 0 to count − 1 of the seed and the split. */
  readonly count: number;
  readonly seed: number;
  readonly split: Split;
  readonly signal?: AbortSignal;
  /** Called after each piece. */
  readonly onProgress?: (doneLines: number, totalLines: number) => void;
}

/** Lines between two writes. */
const pieceLines = 1000;

/**
 * Writes problems with their responses as a chat dataset: a line is `{"messages": [user, assistant]}`. The file appears when it
 * is complete and on disk; after an error, the abort included, a file that was there before is untouched.
 * @throws QuaverError `arithmetic-option`, `arithmetic-split-empty`, `disk-full`, `file-not-permitted`, `file-not-found` (the
 *   folder), `file-is-directory`, `file-io`, `aborted`
 */
export async function writeDataset(options: WriteDatasetOptions): Promise<void> {
  const { path, count } = options;
  if (!(Number.isSafeInteger(count) && count >= 1)) {
    throw new QuaverError('arithmetic-option', `count is ${count}, expected an integer from 1`, {
      where: { option: 'count' },
    });
  }
  await writeFileAtomically(path, (handle) => writeLines(handle, options));
}

async function writeLines(handle: FileHandle, options: WriteDatasetOptions): Promise<void> {
  const { path, count, seed, split, signal, onProgress } = options;
  for (let done = 0; done < count; ) {
    if (signal?.aborted) {
      throw new QuaverError('aborted', `writing ${path} was aborted`, { where: { file: path }, cause: signal.reason });
    }
    const end = Math.min(count, done + pieceLines);
    let text = '';
    for (; done < end; done++) {
      text += `${JSON.stringify(chatExample(generateProblem(seed, done, split, options)))}\n`;
    }
    await handle.appendFile(text);
    onProgress?.(done, count);
  }
}
