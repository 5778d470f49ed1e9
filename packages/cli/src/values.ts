/** @file Values on the command line: text to numbers, or a usage error that says what was expected. */
import { InvalidArgumentError } from 'commander';

function number(text: string, ok: (value: number) => boolean, expected: string): number {
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : Number.NaN;
  if (!ok(value)) throw new InvalidArgumentError(`Expected ${expected}.`);
  return value;
}

export function positiveInteger(text: string): number {
  return number(text, (value) => Number.isSafeInteger(value) && value > 0, 'a positive integer');
}

export function nonNegativeInteger(text: string): number {
  return number(text, (value) => Number.isSafeInteger(value) && value >= 0, 'an integer of at least 0');
}

export function nonNegativeNumber(text: string): number {
  return number(text, (value) => value >= 0 && Number.isFinite(value), 'a number of at least 0');
}

export function positiveNumber(text: string): number {
  return number(text, (value) => value > 0 && Number.isFinite(value), 'a number above 0');
}

/** Above 0 and up to 1. */
export function share(text: string): number {
  return number(text, (value) => value > 0 && value <= 1, 'a number above 0 and up to 1');
}

/** From 0 up to 1, 1 excluded. */
export function fraction(text: string): number {
  return number(text, (value) => value >= 0 && value < 1, 'a number from 0 up to, but not including, 1');
}

/** Which checkpoint of a run. */
export function checkpoint(text: string): 'best' | 'latest' | number {
  if (text === 'best' || text === 'latest') return text;
  return number(text, (value) => Number.isSafeInteger(value) && value >= 0, 'best, latest or a step');
}

/** Collects an option that may be given several times. */
export function collect(text: string, earlier: readonly string[] = []): string[] {
  return [...earlier, text];
}

/** A list with commas. */
export function commaList(text: string): string[] {
  const items = text.split(',').map((item) => item.trim());
  if (items.some((item) => item === '')) throw new InvalidArgumentError('Expected names with commas between them.');
  return items;
}
