export { QuaverError, type QuaverErrorDetails } from './error.ts';
