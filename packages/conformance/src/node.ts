/** @file The entry for Node: everything of `@quaver/conformance`, and the files that come with it. */
export * from './index.ts';
export { packagedSkips, packagedVectors } from './node/packaged-files.ts';
