import { builtInRecipes, type QuantizedLinear, type Recipe } from '@quaver/compiler';

/** fp8-block, whose gradients are rounded stochastically. */
export function stochasticRecipe(): Recipe {
  const recipe = builtInRecipes.get('fp8-block')!;
  const linear = recipe.train.linear as QuantizedLinear;
  const rounded = { ...linear, grad_output: { ...linear.grad_output, rounding: 'stochastic' as const } };
  return { ...recipe, name: 'stochastic', train: { ...recipe.train, linear: rounded } };
}
