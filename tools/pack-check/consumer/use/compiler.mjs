import { compile } from '@quaver/compiler';
import { parseModule, printModule } from '@quaver/ir';

const source = (unused) => `quaver 1 opset core@1
module "sum"

func @main(%x: f32[4]) -> (y: f32[4]) {${unused}
  %y = add(%x, %x) : f32[4]
  return %y
}
`;

export default async () => {
  const module = parseModule(source('\n  %unused = multiply(%x, %x) : f32[4]'));
  const { module: cleaned, report } = await compile(module, { recipe: 'f32', only: ['dce'] });
  return { text: printModule(cleaned), recipe: report.recipe.name ?? report.recipe };
};

export const expected = { text: source(''), recipe: 'f32' };
