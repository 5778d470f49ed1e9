/** What a problem is about, and with it how its prompt is written. */
export const kinds = ['addition', 'subtraction', 'multiplication', 'two-step', 'comparison', 'word'] as const;
export type Kind = (typeof kinds)[number];

/** How large the numbers are, and how many steps it takes; 4 is beyond what the bundled model is trained on. */
export const difficulties = [1, 2, 3, 4] as const;
export type Difficulty = (typeof difficulties)[number];

/** Parts of all problems that have none in common: to learn from, to choose settings with, and to report results on. */
export const splits = ['train', 'validation', 'held-out'] as const;
export type Split = (typeof splits)[number];

export interface Problem {
  readonly kind: Kind;
  readonly difficulty: Difficulty;
  /** The question: `47 + 85 = ?` */
  readonly prompt: string;
  readonly answer: number;
  /** What a model learns to write: working, one step a line, and the answer behind `#### `. */
  readonly response: string;
}

/** A problem before it is known which split it is in. */
export interface Draft {
  readonly prompt: string;
  /** Equations that lead to the answer; each is true by itself. */
  readonly steps: readonly string[];
  readonly answer: number;
  /**
   * Which problem it is, whatever words it is put in: problems with one key are in one split. The numbers in an order that does
   * not depend on how they are asked for, where that does not matter.
   */
  readonly key: string;
}
