import { z } from 'zod';
import { dataError, type Example, type Place } from './example.ts';

/** A string that UTF-8 can write: JSON escapes may hold half a surrogate pair. */
const text = z.string().refine((value) => value.isWellFormed(), 'holds half of a surrogate pair (\\ud800 … \\udfff)');
const filled = text.min(1, 'is empty');

/** The field that tells which kind of example a line is → what the line must hold then. */
const shapes = {
  text: z.object({ text: filled }),
  completion: z.object({ prompt: text, completion: filled }),
  messages: z.object({
    messages: z
      .array(z.object({ role: z.enum(['system', 'user', 'assistant', 'tool']), content: text }))
      .min(1, 'is empty'),
  }),
} as const;

const expected =
  'A line is {"text": …}, {"prompt": …, "completion": …} or {"messages": [{"role": …, "content": …}, …]}.';

/**
 * One line of JSONL as an example. Other fields than those of the three kinds are ignored.
 * @throws QuaverError `data-malformed-json`, `data-missing-field`, `data-bad-field`, with file and line
 */
export function parseLine(line: string, place: Place): Example {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw dataError('data-malformed-json', place, `is not JSON: ${(cause as Error).message}`, expected, cause);
  }
  return checkExample(value, place);
}

/**
 * @throws QuaverError `data-missing-field`, `data-bad-field`
 */
export function checkExample(value: unknown, place: Place): Example {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw dataError('data-missing-field', place, 'is not a JSON object', expected);
  }
  const kinds = (Object.keys(shapes) as (keyof typeof shapes)[]).filter((kind) => kind in value);
  const [kind] = kinds;
  if (kind === undefined) {
    const found = Object.keys(value).slice(0, 8).join(', ') || 'none';
    const missing = 'prompt' in value ? "has a 'prompt' and no 'completion'" : 'has no field that can be trained on';
    throw dataError('data-missing-field', place, `${missing} (fields: ${found})`, expected);
  }
  if (kinds.length > 1) {
    throw dataError('data-bad-field', place, `has ${kinds.map((name) => `'${name}'`).join(' and ')} at once`, expected);
  }
  const parsed = shapes[kind].safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  const missing = path.length === 1 && !((path[0] as string) in value);
  throw dataError(
    missing ? 'data-missing-field' : 'data-bad-field',
    place,
    missing ? `has no '${String(path[0])}'` : `'${path.map(String).join('.')}': ${message}`,
    expected,
  );
}
