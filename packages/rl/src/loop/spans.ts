/** Tells somebody when parts of a step begin and end. */
export interface Spans {
  run<T>(name: string, attributes: Readonly<Record<string, number>>, work: () => Promise<T>): Promise<T>;
}

/** Tells nobody. */
export const noSpans: Spans = { run: (_name, _attributes, work) => work() };
