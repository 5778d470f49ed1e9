export { abortedError, throwIfAborted } from './abort.ts';
export { type Assignment, nodeView, supportOf } from './assignment.ts';
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
  Footprint,
  NodeView,
  ProfileEvent,
  Program,
  Support,
} from './contract.ts';
export { chooseDevice } from './device.ts';
export { TurnClock } from './event-loop.ts';
export { type PlannedCall, type SessionFootprint, sessionFootprint } from './footprint.ts';
export { checkUpload, hostBytes } from './host-memory.ts';
export { nodeError } from './node-error.ts';
export { nullPlugin } from './null-executor.ts';
export { referencePlugin } from './reference/reference-executor.ts';
export { ExecutorRegistry, openPlugin } from './registry.ts';
export { type RunOptions, Session, type SessionOptions } from './session.ts';
export type { SessionProgress } from './session-parameters.ts';
export type { SessionState } from './session-state.ts';
export { SubmissionQueue } from './submission-queue.ts';
