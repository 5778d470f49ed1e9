import type { Problem } from './problem.ts';

/** What the last line of a response begins with. */
export const answerMark = '#### ';

/** A whole number as it is usually written: no leading zeros, no `-0`; at most 15 digits, which f64 holds. */
const finalLine = /(?:^|\n)#### (0|-?[1-9]\d{0,14})\s*$/;

/**
 * The answer that a response ends with: its last line is `#### ` and a whole number. Undefined where there is none, and where
 * the mark comes more than once: listing answers shall not pay.
 */
export function parseAnswer(text: string): number | undefined {
  const found = finalLine.exec(text);
  return found && text.indexOf('####') === text.lastIndexOf('####') ? Number(found[1]) : undefined;
}

/** Whether the response ends with the answer of the problem; the working is not looked at. */
export function isCorrect(problem: Pick<Problem, 'answer'>, text: string): boolean {
  return parseAnswer(text) === problem.answer;
}
