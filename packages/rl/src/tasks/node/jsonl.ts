/** @file Problems of one's own out of a file, with answers that can be compared. */
import { readFile } from 'node:fs/promises';
import { fileError } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import { defineTask, type TaskDefinition } from '../define-task.ts';
import type { Environment, ProblemSplit, RlProblem } from '../environment.ts';

const message = z.strictObject({ role: z.enum(['system', 'user', 'assistant', 'tool']), content: z.string() });
const comparison = {
  answer: z.union([z.string(), z.number()]),
  /** `exact` text, `numeric` value, or a `regex` that the answer must match as a whole. */
  match: z.enum(['exact', 'numeric', 'regex']).default('exact'),
  /** Of `numeric`, absolute. */
  tolerance: z.number().min(0).default(0),
};
const promptLine = z.strictObject({ prompt: z.string().min(1), ...comparison });
const messagesLine = z.strictObject({ messages: z.array(message).min(1), ...comparison });

interface Line {
  readonly messages: RlProblem['messages'];
  readonly data: { readonly answer: string | number; readonly match: string; readonly tolerance: number };
}

export const jsonl: TaskDefinition = defineTask({
  name: 'jsonl',
  summary: 'Lines of {"prompt" or "messages", "answer", "match": exact, numeric or regex, "tolerance"} in a file.',
  options: {
    file: z.string().min(1),
    /** Another file, to report results on; left out: every tenth line of `file`. */
    held_out: z.string().min(1).optional(),
    /** Finds the answer in a response, in its first group; default what stands behind the last `####`, or the whole response. */
    extract: z.string().min(1).optional(),
  },
  async open({ file, held_out: heldOutFile, extract }) {
    const pattern = extract === undefined ? undefined : compilePattern(extract, 'extract');
    const lines = await readLines(file);
    const other = heldOutFile === undefined ? undefined : await readLines(heldOutFile);
    const isHeldOut = (i: number) => !other && i % 10 === 9;
    const train = lines.filter((_, i) => !isHeldOut(i));
    const heldOut = other ?? lines.filter((_, i) => isHeldOut(i));
    const linesOf = (split: ProblemSplit) => (split === 'train' ? train : heldOut);
    return {
      size: (split) => linesOf(split).length,
      problem(index, split) {
        const { messages, data } = linesOf(split)[index]!;
        return { id: `${split} ${index}`, messages, data };
      },
      verify({ data }, { text }) {
        const correct = matches(data as Line['data'], answerIn(text, pattern));
        return { reward: correct ? 1 : 0, correct };
      },
    } satisfies Environment;
  },
});

async function readLines(file: string): Promise<Line[]> {
  const text = await readFile(file, 'utf8').catch((error) => Promise.reject(fileError(file, error)));
  const lines: Line[] = [];
  for (const [i, source] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    if (source.trim() === '') continue;
    lines.push(readLine(source, file, i + 1));
  }
  return lines;
}

function readLine(source: string, file: string, line: number): Line {
  const problem = (what: string) =>
    new QuaverError('rl-task-data', `${file}:${line}: ${what}`, {
      hint: 'A line is {"prompt": "…", "answer": "…"} with, if wanted, "match" and "tolerance"; "messages" may stand for "prompt".',
      where: { file, line },
    });
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch (error) {
    throw problem(`this is not JSON: ${(error as Error).message}`);
  }
  const isConversation = typeof json === 'object' && json !== null && 'messages' in json;
  const parsed = (isConversation ? messagesLine : promptLine).safeParse(json);
  if (!parsed.success) {
    const { path, message: what } = parsed.error.issues[0]!;
    throw problem(path.length === 0 ? what : `'${path.map(String).join('.')}': ${what}`);
  }
  const { answer, match, tolerance, ...rest } = parsed.data;
  if (match === 'numeric' && (String(answer).trim() === '' || !Number.isFinite(Number(answer))))
    throw problem(`'answer': '${answer}' is no number`);
  if (match === 'regex') compilePattern(String(answer), `${file}:${line}: answer`);
  const messages = 'prompt' in rest ? [{ role: 'user' as const, content: rest.prompt }] : rest.messages;
  return { messages, data: { answer, match, tolerance } };
}

function compilePattern(source: string, where: string): RegExp {
  try {
    return new RegExp(source, 'u');
  } catch (cause) {
    throw new QuaverError('rl-task-data', `${where}: ${(cause as Error).message}`, {
      hint: 'Write a JavaScript regular expression.',
      cause,
    });
  }
}

function answerIn(text: string, pattern: RegExp | undefined): string | undefined {
  if (pattern) return pattern.exec(text)?.[1]?.trim();
  const mark = text.lastIndexOf('####');
  return (mark < 0 ? text : text.slice(mark + 4)).trim();
}

function matches({ answer, match, tolerance }: Line['data'], found: string | undefined): boolean {
  if (found === undefined) return false;
  if (match === 'exact') return found === String(answer).trim();
  if (match === 'regex') return new RegExp(`^(?:${answer})$`, 'u').test(found);
  const value = found === '' ? Number.NaN : Number(found.replaceAll(',', ''));
  return Math.abs(value - Number(answer)) <= tolerance;
}
