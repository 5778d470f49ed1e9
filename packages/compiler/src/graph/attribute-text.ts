import type { Attributes, AttributeValue } from '@quaver/ir';

/** Text that two attribute records share exactly when they are equal; the order of names does not matter. */
export function attributesText(attributes: Attributes): string {
  return Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${exactText(value)}`)
    .join(';');
}

/** JSON would write −0 as 0, and NaN and Infinity as null. */
function exactText(value: AttributeValue): string {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  return JSON.stringify(value);
}
