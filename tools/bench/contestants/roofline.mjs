/** @file The measured limits of the machine, as a contestant. */
import { loadRoofline } from '../roofline.mjs';

export async function open({ threads }) {
  const roofline = loadRoofline();
  const measures = {
    read: () => roofline.readGBs(threads),
    copy: () => roofline.copyGBs(threads),
    fma: () => roofline.fmaGflops(threads),
    bf16: () => roofline.bf16Gflops(threads),
  };
  return {
    measure: async (what) => measures[what](),
    details: () => ({ isa: roofline.isa, threads }),
    close() {},
  };
}
