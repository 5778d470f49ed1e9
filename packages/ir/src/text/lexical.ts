/** @file Words that the printer and the parser of the text form share. See docs/file-format.md for the grammar. */

/** Words that mean a value where an attribute stands, so that a string that reads like one is quoted. */
const reserved: ReadonlySet<string> = new Set(['true', 'false', 'NaN', 'Infinity']);

/** Names that need no quotes. */
function isIdentifier(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(text);
}

/** A name as it is printed after @, ! or at the head of an output. */
export function nameText(name: string): string {
  return isIdentifier(name) ? name : JSON.stringify(name);
}

/** A string attribute: bare where it cannot be mistaken for something else. */
export function stringText(text: string): string {
  return isIdentifier(text) && !reserved.has(text) ? text : JSON.stringify(text);
}

/** The shortest digits that give the same double; -0, NaN and infinities are spelled. */
export function numberText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}
