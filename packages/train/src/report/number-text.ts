/** A number for people: some significant digits, `–` where there is none. */
export function numberText(value: number | undefined, digits = 5): string {
  if (value === undefined) return '–';
  if (!Number.isFinite(value)) return String(value).replace('-', '−').replace('Infinity', '∞');
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return String(Number(value.toPrecision(digits))).replace('-', '−');
  return value.toLocaleString('en-US', { maximumSignificantDigits: digits }).replace('-', '−');
}

/** A share of 1 in percent: `1.25 %`. */
export function percentText(share: number | undefined, digits = 3): string {
  return share === undefined ? '–' : `${numberText(share * 100, digits)} %`;
}

/** A difference as a share, with its sign: `+0.31 %`. */
export function differenceText(share: number | undefined): string {
  return `${share !== undefined && share > 0 ? '+' : ''}${percentText(share)}`;
}
