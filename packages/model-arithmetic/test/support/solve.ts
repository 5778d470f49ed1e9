/** @file Solves prompts by reading them: a parser of expressions over BigInt, and sentences. It knows nothing of the generator. */

/** The value of an expression of integers, + − *, and brackets, by recursive descent. */
export function evaluate(text: string): bigint {
  const tokens = text.match(/\d+|[-+*()]/g) ?? [];
  if (tokens.join('') !== text.replaceAll(' ', '')) throw new Error(`'${text}' is no expression`);
  let at = 0;
  const factor = (): bigint => {
    const token = tokens[at++];
    if (token === '(') {
      const inner = sum();
      if (tokens[at++] !== ')') throw new Error(`'${text}' misses a bracket`);
      return inner;
    }
    if (token === '-') return -factor();
    if (!/^\d+$/.test(token ?? '')) throw new Error(`'${text}' has ${token} where a number should be`);
    return BigInt(token!);
  };
  const product = (): bigint => {
    let value = factor();
    while (tokens[at] === '*') {
      at++;
      value *= factor();
    }
    return value;
  };
  const sum = (): bigint => {
    let value = product();
    while (tokens[at] === '+' || tokens[at] === '-') {
      const sign = tokens[at++];
      const next = product();
      value = sign === '+' ? value + next : value - next;
    }
    return value;
  };
  const value = sum();
  if (at !== tokens.length) throw new Error(`'${text}' goes on after its end`);
  return value;
}

/** What a story says → its answer; numbers in the order in which they are told. */
const sentences: readonly (readonly [RegExp, (numbers: readonly bigint[]) => bigint])[] = [
  [/^(\w+) has (\d+) (\w+) and buys (\d+) more\. How many \3 does \1 have\?$/, ([a, b]) => a! + b!],
  [/^(\w+) has (\d+) (\w+) and gives (\d+) to (?!\1)\w+\. How many \3 does \1 have left\?$/, ([a, b]) => a! - b!],
  [/^There are (\d+) \w+ with (\d+) (\w+) in each\. How many \3 are there\?$/, ([a, b]) => a! * b!],
  [
    /^(\w+) has (\d+) (\w+)\. (?!\1)\w+ has (\d+) more than \1\. How many \3 do they have together\?$/,
    ([a, b]) => 2n * a! + b!,
  ],
  [
    /^(\w+) has (\d+) (\w+), finds (\d+) more and loses (\d+)\. How many \3 does \1 have left\?$/,
    ([a, b, c]) => a! + b! - c!,
  ],
  [
    /^(\w+) has (\d+) (\w+) and buys (\d+) \w+ with (\d+) \3 in each\. How many \3 does \1 have\?$/,
    ([a, b, c]) => a! + b! * c!,
  ],
  [
    /^(\w+) has (\d+) coins and buys (\d+) \w+ for (\d+) coins each\. How many coins does \1 have left\?$/,
    ([a, b, c]) => a! - b! * c!,
  ],
];

/** The answer to any prompt. */
export function solve(prompt: string): bigint {
  const expression = /^([-+*() \d]+) = \?$/.exec(prompt);
  if (expression) return evaluate(expression[1]!);
  const numbers = [...prompt.matchAll(/\d+/g)].map(([digits]) => BigInt(digits));
  const choice = /^Which is (larger|smaller), \d+ or \d+\?$/.exec(prompt);
  if (choice) {
    const [a, b] = numbers as [bigint, bigint];
    return a > b === (choice[1] === 'larger') ? a : b;
  }
  const told = sentences.filter(([pattern]) => pattern.test(prompt));
  if (told.length !== 1) throw new Error(`${told.length} readings of '${prompt}'`);
  return told[0]![1](numbers);
}
