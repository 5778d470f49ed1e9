/** @file HTML and SVG as template literals in which everything that is put in is escaped. */

/** Markup that is ready to be written. Text becomes it through `html` only, which escapes it. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Inserted = Html | string | number | undefined | readonly Inserted[];

/** Text is escaped for element content and for attributes in double quotes; `undefined` is nothing; lists are joined. */
export function html(parts: TemplateStringsArray, ...inserted: readonly Inserted[]): Html {
  return new Html(parts.map((part, i) => part + (i < inserted.length ? markup(inserted[i]) : '')).join(''));
}

function markup(value: Inserted): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(markup).join('');
  return escapeText(String(value));
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (char) => entities[char]!);
}
