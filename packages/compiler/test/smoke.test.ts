import { expect, it } from 'vitest';
import { printModule } from '@quaver/ir';
import { builtInRecipes, compile, formatReport } from '../src/index.ts';
import { smallLlama } from './fixtures/small-llama.ts';

it('runs', async () => {
  for (const name of builtInRecipes.keys()) {
    const { module, report } = await compile(smallLlama(), { recipe: name });
    if (name === 'fp8-block') console.log(printModule(module).slice(0, 12000));
    console.log(formatReport(report).slice(0, 3500));
  }
});
