import { philox4x32, StopStrings } from '@quaver/generate';

export default () => {
  const stops = new StopStrings(['</s>']);
  return [philox4x32([0, 0, 0, 0], [0, 0]), stops.push('done</'), stops.push('s> and more')];
};

/** The first is a known answer of the Random123 distribution (philox4x32, 10 rounds). */
export const expected = [
  [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  { text: 'done', stopped: false },
  { text: '', stopped: true },
];
