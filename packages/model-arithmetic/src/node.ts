export { modelPath } from './node/model-path.ts';
export { type WriteDatasetOptions, writeDataset } from './node/write-dataset.ts';
export { writeTokenizer } from './node/write-tokenizer.ts';
