import { foldParameters } from '../folding/fold-parameters.ts';
import { foldSplats } from '../folding/fold-splats.ts';
import { mapFunctions } from '../graph/edit-module.ts';
import { readRequest } from '../lowering/annotations.ts';
import type { Pass } from '../pass.ts';

/**
 * Constants are folded always. Weights are folded only once no precision request is pending, that is when the pass runs
 * again after `fp8-lower`: then amax, compute_scale, quantize and convert of a weight become parameters (codes and
 * scales), and the high-precision weight is left behind. Before that, folding would only widen weights for a cast to
 * narrow them again. Disable the pass to keep weights trainable: then they are quantized in every step.
 *
 * Nothing is folded through `dequantize` or a conversion from or to FP8.
 */
export const foldConstants: Pass = {
  name: 'fold-constants',
  description: 'Computes what depends on constants alone; after fp8-lower also what depends on weights alone (lazily).',
  run(module, { registry }) {
    const folded = mapFunctions(module, (fn) => foldSplats(fn, registry));
    const pending = folded.functions.some((fn) => fn.nodes.some((node) => readRequest(node)));
    return pending ? folded : foldParameters(folded, registry);
  },
};
