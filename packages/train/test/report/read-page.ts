const entities: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#39;': "'",
  '&amp;': '&',
};

function textOf(markup: string): string {
  const text = markup.replace(/<[^>]*>/g, '');
  return text.replace(/&(lt|gt|quot|#39|amp);/g, (entity) => entities[entity]!).trim();
}

/** The texts of all elements of one kind, in their order. */
export function elementsOf(page: string, tag: string): string[] {
  return [...page.matchAll(new RegExp(`<${tag}\\b[^>]*>(.*?)</${tag}>`, 'gs'))].map(([, inner]) => textOf(inner!));
}

/** The cells of the table with that number on the page, row by row. */
export function tableOf(page: string, number: number): string[][] {
  const table = [...page.matchAll(/<table>(.*?)<\/table>/gs)][number]![1]!;
  return [...table.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row]) =>
    [...row!.matchAll(/<t[hd]\b[^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell]) => textOf(cell!)),
  );
}
