export { type Assignment, assign, nodeView } from './assignment.ts';
export type {
  Bindings,
  BufferUsage,
  Capabilities,
  DeviceBuffer,
  DeviceInfo,
  DeviceLost,
  Executor,
  ExecutorOptions,
  ExecutorPlugin,
  Fence,
  NodeView,
  ProfileEvent,
  Program,
  Support,
} from './contract.ts';
export { checkUpload, HostBuffer } from './host-buffer.ts';
export { nullPlugin } from './null-executor.ts';
export { referencePlugin } from './reference/reference-executor.ts';
export { ExecutorRegistry } from './registry.ts';
export { type RunOptions, Session, type SessionOptions, type SessionProgress, SessionState } from './session.ts';
export { SubmissionQueue, throwIfAborted, yieldToEventLoop } from './submission-queue.ts';
