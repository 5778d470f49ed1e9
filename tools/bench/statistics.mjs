/** @file Medians and straight lines. */

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The least-squares line through points `[x, y]`, and R²: the part of the variance of y that it explains. */
export function fitLine(points) {
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const sum = (term) => points.reduce((total, [x, y]) => total + term(x - meanX, y - meanY), 0);
  const slope = sum((x, y) => x * y) / sum((x) => x * x);
  const intercept = meanY - slope * meanX;
  const residual = points.reduce((total, [x, y]) => total + (y - intercept - slope * x) ** 2, 0);
  return { slope, intercept, r2: 1 - residual / sum((_, y) => y * y) };
}
