/** @file Written addition and subtraction, column by column from the right. */

function digits(value: number): number[] {
  return [...String(value)].map(Number).reverse();
}

const columnsOf = (a: number, b: number) => Math.max(digits(a).length, digits(b).length);

/** 47 and 85 → `7+5=12`, `4+8+1=13`: each column with the carry of the one before. None where a single one would do. */
export function additionSteps(a: number, b: number): string[] {
  const [top, bottom] = [digits(a), digits(b)];
  const columns = columnsOf(a, b);
  if (columns === 1) return [];
  const steps: string[] = [];
  let carry = 0;
  for (let i = 0; i < columns; i++) {
    const sum = (top[i] ?? 0) + (bottom[i] ?? 0) + carry;
    steps.push(`${top[i] ?? 0}+${bottom[i] ?? 0}${carry ? '+1' : ''}=${sum}`);
    carry = sum >= 10 ? 1 : 0;
  }
  return steps;
}

/** 83 and 47 → `13-7=6`, `8-4-1=3`: a column that is too small borrows 10 from the next. `a` is at least `b`. */
export function subtractionSteps(a: number, b: number): string[] {
  const [top, bottom] = [digits(a), digits(b)];
  const columns = columnsOf(a, b);
  if (columns === 1) return [];
  const steps: string[] = [];
  let borrow = 0;
  for (let i = 0; i < columns; i++) {
    const [upper, lower] = [top[i] ?? 0, bottom[i] ?? 0];
    const raised = upper - lower - borrow < 0 ? upper + 10 : upper;
    steps.push(`${raised}-${lower}${borrow ? '-1' : ''}=${raised - lower - borrow}`);
    borrow = raised > upper ? 1 : 0;
  }
  return steps;
}

/** 47 and 7 → `40*7=280`, `7*7=49`, `280+49=329`: the places of the first one by one. None where `a` is below 13. */
export function multiplicationSteps(a: number, b: number): string[] {
  if (a < 13) return [];
  const parts = digits(a)
    .map((digit, place) => digit * 10 ** place)
    .filter((part) => part > 0)
    .reverse();
  const steps = parts.map((part) => `${part}*${b}=${part * b}`);
  let sum = parts[0]! * b;
  for (const part of parts.slice(1)) {
    steps.push(`${sum}+${part * b}=${sum + part * b}`);
    sum += part * b;
  }
  return steps;
}
