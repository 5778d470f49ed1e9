/** @file Reads words of the text form from left to right; every error names line, column and what was expected. */
import { QuaverError } from '@quaver/numerics';

const identifierAt = /[A-Za-z_][A-Za-z0-9_]*/y;
const valueAt = /%[A-Za-z0-9_.]+/y;
const countAt = /\d+/y;
const numberAt = /-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Infinity)|NaN/y;
/** Space, tab, carriage return, line feed. */
const blanks: ReadonlySet<number> = new Set([32, 9, 13, 10]);

export class Scanner {
  readonly text: string;
  /** Where the next word starts; blanks and comments before it are already skipped. */
  #position = 0;

  constructor(text: string) {
    this.text = text;
    this.#skipBlanks();
  }

  get position(): number {
    return this.#position;
  }

  get atEnd(): boolean {
    return this.#position >= this.text.length;
  }

  /** Whether `punctuation` comes next. */
  sees(punctuation: string): boolean {
    return this.text.startsWith(punctuation, this.#position);
  }

  /** Takes `punctuation` if it comes next. */
  accept(punctuation: string): boolean {
    if (!this.sees(punctuation)) return false;
    this.#advance(punctuation.length);
    return true;
  }

  expect(punctuation: string): void {
    if (!this.accept(punctuation)) this.fail(`'${punctuation}'`);
  }

  /** Takes the whole word `keyword` if it comes next. */
  acceptWord(keyword: string): boolean {
    return this.#match(identifierAt) === keyword && this.accept(keyword);
  }

  expectWord(keyword: string): void {
    if (!this.acceptWord(keyword)) this.fail(`'${keyword}'`);
  }

  identifier(what: string): string {
    return this.#take(identifierAt) ?? this.fail(what);
  }

  /** An identifier or a quoted string. */
  name(what: string): string {
    return this.sees('"') ? this.string(what) : this.identifier(what);
  }

  /** `%name`, without its sign. */
  value(): string {
    return this.#take(valueAt)?.slice(1) ?? this.fail('a value such as %x');
  }

  count(what: string): number {
    const start = this.#position;
    const count = Number(this.#take(countAt) ?? this.fail(what));
    return Number.isSafeInteger(count) ? count : this.fail(`${what} below 2^53`, start);
  }

  number(): number {
    return Number(this.#take(numberAt) ?? this.fail('a number'));
  }

  seesNumber(): boolean {
    return this.#match(numberAt) !== undefined;
  }

  /** A quoted string with JSON's escapes. */
  string(what: string): string {
    const start = this.#position;
    if (!this.sees('"')) this.fail(what);
    let end = start + 1;
    for (let code = 0; code !== 34; end++) {
      code = this.text.charCodeAt(end);
      if (Number.isNaN(code) || code === 10) this.fail('a closing quote on the same line', end);
      if (code === 92) end++;
    }
    try {
      const value: string = JSON.parse(this.text.slice(start, end));
      this.#advance(end - start);
      return value;
    } catch {
      return this.fail('a string with the escapes of JSON');
    }
  }

  /** Items up to `close`, separated by commas; a comma after the last is allowed. */
  list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.accept(close)) {
      items.push(item());
      if (!this.accept(',') && !this.sees(close)) this.fail(`',' or '${close}'`);
    }
    return items;
  }

  /** @throws QuaverError `text-syntax` */
  fail(expected: string, position: number = this.#position): never {
    const found = this.text.slice(position, position + 24).split('\n', 1)[0]!;
    return this.refuse(
      'text-syntax',
      `expected ${expected}, found ${found === '' ? 'the end of the line' : JSON.stringify(found)}`,
      position,
    );
  }

  /** @throws QuaverError `code`, with the line and column of `position` */
  refuse(code: string, problem: string, position: number, cause?: QuaverError): never {
    const before = this.text.slice(0, position);
    const line = before.split('\n').length;
    const column = position - before.lastIndexOf('\n');
    throw new QuaverError(code, `${line}:${column}: ${problem}`, {
      hint: cause?.hint ?? 'docs/file-format.md gives the grammar of the text form.',
      where: { ...cause?.where, line, column },
      cause,
    });
  }

  /** Runs `read`; a Quaver error that it throws is given the place of `position`. */
  at<T>(position: number, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof QuaverError) || 'line' in error.where) throw error;
      return this.refuse(error.code, error.message, position, error);
    }
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    return pattern.exec(this.text)?.[0];
  }

  #take(pattern: RegExp): string | undefined {
    const match = this.#match(pattern);
    if (match !== undefined) this.#advance(match.length);
    return match;
  }

  #advance(length: number): void {
    this.#position += length;
    this.#skipBlanks();
  }

  #skipBlanks(): void {
    for (;;) {
      while (blanks.has(this.text.charCodeAt(this.#position))) this.#position++;
      if (!this.sees('//')) return;
      const end = this.text.indexOf('\n', this.#position);
      this.#position = end < 0 ? this.text.length : end;
    }
  }
}
