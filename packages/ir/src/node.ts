/** @file The Node-only entry `@quaver/ir/node`: modules in files. */
export type { TensorProgress } from './file/copy-tensor.ts';
export { fileError } from './file/file-error.ts';
export { type FileSource, openFileSource } from './file/file-source.ts';
export {
  type ModuleFile,
  type ReadModuleFileOptions,
  readModuleFile,
  type VerifiedData,
  type VerifyDataOptions,
} from './file/read-module-file.ts';
export { type WriteModuleFileOptions, writeModuleFile } from './file/write-module-file.ts';
