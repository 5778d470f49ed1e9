/** @file Short word problems. */
import type { Draws } from '../draws.ts';
import type { Difficulty, Draft } from '../problem.ts';

export const names = ['Tom', 'Anna', 'Ben', 'Mia', 'Sam', 'Eva', 'Max', 'Lily'] as const;
export const things = [
  'apples',
  'pears',
  'books',
  'cards',
  'stamps',
  'marbles',
  'shells',
  'pens',
  'stones',
  'cookies',
] as const;
export const containers = ['boxes', 'bags', 'baskets', 'jars'] as const;

/** What a story is about. */
interface Cast {
  readonly name: string;
  readonly other: string;
  readonly things: string;
  readonly containers: string;
}

/** The largest number of things, and of containers. Nothing is 1, so that every noun is a plural. */
interface Size {
  readonly many: number;
  readonly few: number;
}

const sizes: Readonly<Record<Difficulty, Size>> = {
  1: { many: 10, few: 5 },
  2: { many: 40, few: 9 },
  3: { many: 99, few: 12 },
  4: { many: 999, few: 25 },
};

interface Solution {
  readonly steps: readonly string[];
  readonly answer: number;
}

export interface Story {
  readonly id: string;
  /** The least difficulty that it is told at: two steps come later. */
  readonly from: Difficulty;
  draw(draws: Draws, size: Size): readonly number[];
  tell(cast: Cast, numbers: readonly number[]): string;
  solve(numbers: readonly number[]): Solution;
}

/** Steps as `left operation right`; the answer is what the last one gives. */
function solution(...operations: readonly (readonly [number, '+' | '-' | '*', number])[]): Solution {
  const values = operations.map(([a, sign, b]) => (sign === '+' ? a + b : sign === '-' ? a - b : a * b));
  const steps = operations.map(([a, sign, b], i) => `${a}${sign}${b}=${values[i]}`);
  return { steps, answer: values.at(-1)! };
}

const two = (draws: Draws, most: number): [number, number] => [draws.integer(2, most), draws.integer(2, most)];

export const stories: readonly Story[] = [
  {
    id: 'buys',
    from: 1,
    draw: (draws, { many }) => two(draws, many),
    tell: ({ name, things }, [a, b]) =>
      `${name} has ${a} ${things} and buys ${b} more. How many ${things} does ${name} have?`,
    solve: ([a, b]) => solution([a!, '+', b!]),
  },
  {
    id: 'gives',
    from: 1,
    draw: (draws, { many }) => {
      const a = draws.integer(4, many);
      return [a, draws.integer(2, a - 2)];
    },
    tell: ({ name, other, things }, [a, b]) =>
      `${name} has ${a} ${things} and gives ${b} to ${other}. How many ${things} does ${name} have left?`,
    solve: ([a, b]) => solution([a!, '-', b!]),
  },
  {
    id: 'each',
    from: 1,
    draw: (draws, { few }) => two(draws, few),
    tell: ({ things, containers }, [a, b]) =>
      `There are ${a} ${containers} with ${b} ${things} in each. How many ${things} are there?`,
    solve: ([a, b]) => solution([a!, '*', b!]),
  },
  {
    id: 'together',
    from: 2,
    draw: (draws, { many }) => two(draws, many),
    tell: ({ name, other, things }, [a, b]) =>
      `${name} has ${a} ${things}. ${other} has ${b} more than ${name}. How many ${things} do they have together?`,
    solve: ([a, b]) => solution([a!, '+', b!], [a!, '+', a! + b!]),
  },
  {
    id: 'loses',
    from: 2,
    draw: (draws, { many }) => {
      const [a, b] = two(draws, many);
      return [a, b, draws.integer(2, a + b - 2)];
    },
    tell: ({ name, things }, [a, b, c]) =>
      `${name} has ${a} ${things}, finds ${b} more and loses ${c}. How many ${things} does ${name} have left?`,
    solve: ([a, b, c]) => solution([a!, '+', b!], [a! + b!, '-', c!]),
  },
  {
    id: 'packs',
    from: 2,
    draw: (draws, { many, few }) => [draws.integer(2, many), ...two(draws, few)],
    tell: ({ name, things, containers }, [a, b, c]) =>
      `${name} has ${a} ${things} and buys ${b} ${containers} with ${c} ${things} in each. How many ${things} does ${name} have?`,
    solve: ([a, b, c]) => solution([b!, '*', c!], [a!, '+', b! * c!]),
  },
  {
    id: 'change',
    from: 2,
    draw: (draws, { many, few }) => {
      const [a, b] = two(draws, few);
      return [a, b, a * b + draws.integer(2, many)];
    },
    tell: ({ name, things }, [a, b, c]) =>
      `${name} has ${c} coins and buys ${a} ${things} for ${b} coins each. How many coins does ${name} have left?`,
    solve: ([a, b, c]) => solution([a!, '*', b!], [c!, '-', a! * b!]),
  },
];

export function word(draws: Draws, difficulty: Difficulty): Draft {
  const story = draws.pick(stories.filter(({ from }) => from <= difficulty));
  const [name, other] = draws.pickTwo(names);
  const cast = { name, other, things: draws.pick(things), containers: draws.pick(containers) };
  const numbers = story.draw(draws, sizes[difficulty]);
  return { prompt: story.tell(cast, numbers), ...story.solve(numbers), key: `${story.id} ${numbers.join(' ')}` };
}
