export { lossFunction } from './graph/loss.ts';
