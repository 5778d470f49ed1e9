import type { WriteStream } from 'node:tty';
import { styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

/** Something that text is written to, and whether a person watches it. */
export type Output = Pick<WriteStream, 'write'> & { readonly isTTY?: boolean };

/** Wraps text in terminal colours, or leaves it as it is. */
export type Style = (format: Format, text: string) => string;

/** Colours only on a terminal, and not where NO_COLOR asks for none (https://no-color.org). */
export function styleFor(stream: Output, env: NodeJS.ProcessEnv = process.env): Style {
  const coloured = stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
  return coloured ? (format, text) => styleText(format, text, { validateStream: false }) : (_format, text) => text;
}
