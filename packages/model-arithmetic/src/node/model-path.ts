import { fileURLToPath } from 'node:url';

/**
 * The absolute path of the trained model, a `.qvr` file that is not compiled: compile it with any recipe, or train it further.
 * `model/ORIGIN.md` of this package says how it was made and how well it answers.
 */
export function modelPath(): string {
  return fileURLToPath(new URL('../../model/arithmetic.qvr', import.meta.url));
}
