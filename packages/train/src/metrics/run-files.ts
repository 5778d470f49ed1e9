/** Names of the files in a run folder. */
export const metricsFile = 'metrics.jsonl';
export const quantizationFile = 'quantization.jsonl';
