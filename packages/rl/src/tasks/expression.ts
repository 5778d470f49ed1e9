/** @file Arithmetic expressions, read and computed exactly: fractions of whole numbers, and nothing else that code could do. */

/** In lowest terms; the denominator is positive. */
export interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

export interface Expression {
  readonly value: Fraction;
  /** The numbers that stand in it, from left to right. */
  readonly numbers: readonly number[];
}

/** Longer ones are not expressions that anybody means. */
const mostCharacters = 200;

/**
 * The value of an expression of whole numbers with + - * / and parentheses; undefined where it is none, or divides by zero.
 * A minus sign may stand before a term.
 */
export function parseExpression(text: string): Expression | undefined {
  if (text.length > mostCharacters) return undefined;
  const tokens = text.match(/\d+|[-+*/()]|\S/g) ?? [];
  const parser = new Parser(tokens);
  const value = parser.sum();
  return value && parser.isAtEnd ? { value, numbers: parser.numbers } : undefined;
}

class Parser {
  readonly #tokens: readonly string[];
  readonly numbers: number[] = [];
  #at = 0;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#tokens.length;
  }

  sum(): Fraction | undefined {
    let left = this.#product();
    for (let sign = this.#take('+', '-'); left && sign; sign = this.#take('+', '-')) {
      const right = this.#product();
      if (!right) return undefined;
      const signed = sign === '+' ? right.numerator : -right.numerator;
      left = fraction(
        left.numerator * right.denominator + signed * left.denominator,
        left.denominator * right.denominator,
      );
    }
    return left;
  }

  #product(): Fraction | undefined {
    let left = this.#factor();
    for (let sign = this.#take('*', '/'); left && sign; sign = this.#take('*', '/')) {
      const right = this.#factor();
      if (!right) return undefined;
      left =
        sign === '*'
          ? fraction(left.numerator * right.numerator, left.denominator * right.denominator)
          : fraction(left.numerator * right.denominator, left.denominator * right.numerator);
    }
    return left;
  }

  #factor(): Fraction | undefined {
    if (this.#take('-')) {
      const value = this.#factor();
      return value && { ...value, numerator: -value.numerator };
    }
    if (this.#take('(')) {
      const value = this.sum();
      return this.#take(')') ? value : undefined;
    }
    const token = this.#tokens[this.#at] ?? '';
    if (!/^\d{1,15}$/.test(token)) return undefined;
    this.#at++;
    this.numbers.push(Number(token));
    return fraction(BigInt(token), 1n);
  }

  #take(...wanted: readonly string[]): string | undefined {
    const token = this.#tokens[this.#at];
    if (token === undefined || !wanted.includes(token)) return undefined;
    this.#at++;
    return token;
  }
}

/** Undefined for a denominator of 0. */
function fraction(numerator: bigint, denominator: bigint): Fraction | undefined {
  if (denominator === 0n) return undefined;
  const divisor = greatestCommonDivisor(
    numerator < 0n ? -numerator : numerator,
    denominator < 0n ? -denominator : denominator,
  );
  const sign = denominator < 0n ? -1n : 1n;
  return { numerator: (sign * numerator) / divisor, denominator: (sign * denominator) / divisor };
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestCommonDivisor(b, a % b);
}
