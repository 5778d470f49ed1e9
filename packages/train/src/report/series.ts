/** @file Curves of a run, ready to be drawn. */
import type { StepRecord } from '../metrics/records.ts';

export interface Point {
  readonly x: number;
  /** A gap in the curve where it is not finite. */
  readonly y: number;
}

export interface Series {
  readonly label: string;
  readonly points: readonly Point[];
  /** Drawn thin and pale, behind another curve of the same colour. */
  readonly faint?: boolean;
  /** Which colour it has; the same number is the same run or tensor. */
  readonly colour: number;
}

/** One number of every record that has it, over the step. */
export function pointsOf(steps: readonly StepRecord[], name: keyof StepRecord & string): readonly Point[] {
  return steps.flatMap((record) => {
    const y = record[name];
    return typeof y === 'number' ? [{ x: record.step, y }] : [];
  });
}

/** How much of a smoothed value comes from the one before it. */
export const smoothing = 0.9;

/** Exponential moving average with the correction for its start; values that are not finite change nothing. */
export function smooth(points: readonly Point[]): readonly Point[] {
  let sum = 0;
  let weight = 0;
  return points.map(({ x, y }) => {
    if (!Number.isFinite(y)) return { x, y };
    sum = smoothing * sum + (1 - smoothing) * y;
    weight = smoothing * weight + (1 - smoothing);
    return { x, y: sum / weight };
  });
}

const mostPoints = 1200;

/** At most some 1200 points that look the same: of every stretch the lowest, the highest, and one gap where it has one. */
export function thin(points: readonly Point[]): readonly Point[] {
  if (points.length <= mostPoints) return points;
  const stretch = Math.ceil(points.length / (mostPoints / 3));
  const kept = new Set<number>([0, points.length - 1]);
  for (let start = 0; start < points.length; start += stretch) {
    let low = -1;
    let high = -1;
    let gap = -1;
    for (let i = start; i < Math.min(start + stretch, points.length); i++) {
      const { y } = points[i]!;
      if (!Number.isFinite(y)) gap = i;
      else {
        if (low < 0 || y < points[low]!.y) low = i;
        if (high < 0 || y > points[high]!.y) high = i;
      }
    }
    for (const i of [low, high, gap]) if (i >= 0) kept.add(i);
  }
  return [...kept].sort((a, b) => a - b).map((i) => points[i]!);
}

/** At most `count` of the items, evenly spread, the first and the last among them. */
export function spread<T>(items: readonly T[], count: number): readonly T[] {
  if (items.length <= count) return items;
  return Array.from({ length: count }, (_, i) => items[Math.round((i * (items.length - 1)) / (count - 1))]!);
}
