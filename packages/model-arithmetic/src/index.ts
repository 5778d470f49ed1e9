export { type ChatExample, chatExample } from './chat-example.ts';
export { generateProblem, type ProblemOptions } from './generate-problem.ts';
export { modelConfig } from './model-config.ts';
export { type Difficulty, difficulties, type Kind, kinds, type Problem, type Split, splits } from './problem.ts';
export { tokenizerConfig, tokenizerFiles, tokenizerJson } from './tokenizer.ts';
export { isCorrect, parseAnswer } from './verify.ts';
