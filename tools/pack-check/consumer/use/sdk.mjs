import { parseModule } from '@quaver/ir';
import { compileModel, isCompiled, recipeOf } from '@quaver/sdk';
import { text } from './ir.mjs';

export default async () => {
  const module = parseModule(text);
  const { module: compiled } = await compileModel(module);
  return [isCompiled(module), isCompiled(compiled), recipeOf(compiled).name];
};

export const expected = [false, true, 'fp8-block'];
