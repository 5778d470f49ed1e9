export { cacheFolder } from './cache-folder.ts';
export { pullModel } from './pull.ts';
export type { PullOptions, PullProgress, PullResult, PullTiming } from './pull-options.ts';
export { type ShortName, shortNames } from './reference.ts';
