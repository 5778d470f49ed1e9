export { lossFunction } from './graph/loss.ts';
export { type AdafactorOptions, adafactor } from './optimizer/adafactor.ts';
export { type AdamWOptions, adamw } from './optimizer/adamw.ts';
export { clipByGlobalNorm, globalNorm, keepUnlessFinite } from './optimizer/clip.ts';
export { type MuonOptions, muon } from './optimizer/muon.ts';
export type { Optimizer, StepInputs, StepResults } from './optimizer/optimizer.ts';
export { type SgdOptions, sgd } from './optimizer/sgd.ts';
export { type Decay, type ScheduleOptions, schedule } from './schedule.ts';
