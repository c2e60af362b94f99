export interface Distribution {
  count: number;
  p50: number;
  p90: number;
  p99: number;
  max: number;
}

export function distribution(values: readonly number[]): Distribution {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
  return { count: sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: sorted.at(-1)! };
}

export function describeDistribution(name: string, unit: string, d: Distribution): string {
  const figures = [`p50 ${d.p50.toFixed(3)}`, `p90 ${d.p90.toFixed(3)}`, `p99 ${d.p99.toFixed(3)}`];
  return `${name}: ${figures.join(", ")}, max ${d.max.toFixed(3)} ${unit} (${d.count} samples)`;
}
