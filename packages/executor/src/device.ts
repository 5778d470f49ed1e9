import { QuaverError } from '@quaver/numerics';
import type { DeviceInfo, ExecutorOptions } from './contract.ts';

/**
 * The device that a plug-in shall open: the one that is asked for, else the first.
 * @throws QuaverError `executor-device-unknown`
 */
export function chooseDevice(
  executor: string,
  devices: readonly [DeviceInfo, ...DeviceInfo[]],
  { device }: ExecutorOptions = {},
): DeviceInfo {
  const found = device === undefined ? devices[0] : devices.find(({ id }) => id === device);
  if (found) return found;
  throw new QuaverError('executor-device-unknown', `executor '${executor}' has no device '${device}'`, {
    hint: `It has: ${devices.map(({ id }) => id).join(', ')}.`,
    where: { executor, device: String(device) },
  });
}
