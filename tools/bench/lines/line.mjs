/**
 * @file What a line of the benchmarks is. Lines of the same group are measured together: every run asks each of the group's
 * measurements once, in turn, and a line compares the medians of two of them.
 *
 * @typedef {{ module: string, options?: object, env?: Record<string, string>, what: string }} Measurement
 * @typedef {object} Line
 * @property {string} id
 * @property {string} title
 * @property {string} unit
 * @property {string} group
 * @property {number} [threads] lines that need more cores than the machine has are left out
 * @property {boolean} [needsPeers]
 * @property {boolean} [needsPython] peers that are Python packages
 * @property {Measurement} ours
 * @property {Measurement} [against]
 * @property {string} [peer] what `against` is, in words
 * @property {number} [target] for the ratio of ours to the peer's
 * @property {'higher' | 'lower'} [better] which ratio meets the target; default higher
 * @property {(value: unknown) => number} [reduce] makes a figure of what is not one
 * @property {Record<string, Measurement>} [alongside] also measured in every run, for explanation
 * @property {Record<string, Measurement>} [once] measured once, for explanation
 * @property {{ text?: string, rows?: number }} [binds] what is known of the limit besides figures; rows of a product
 */

export const model = (name, what, options = {}) => ({
  module: 'quaver-model',
  options: { model: name, ...options },
  what,
});
export const llama = (type, what, options = {}) => ({ module: 'llama-cpp', options: { type, ...options }, what });
export const op = (options, what) => ({ module: 'quaver-op', options, what });
export const roofline = (what, threads) => ({ module: 'roofline', options: { threads }, what });

export const threadsText = (count) => `${count} thread${count === 1 ? '' : 's'}`;
