import { f8e4m3fn } from '@quaver/numerics';

/** 464 is the midpoint above 448 and ties to it; 2^-10 is half of the smallest subnormal and ties to zero. */
export default () => [464, 465, 2 ** -10, -0.3].map((value) => f8e4m3fn.encode(value, false));

export const expected = [0x7e, 0x7f, 0x00, 0xaa];
