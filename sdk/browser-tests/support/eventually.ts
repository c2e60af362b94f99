const LOOK_EVERY_MS = 20;

/** Looks until `holds` gives something truthy, and gives that; fails with `what` when it takes too long. */
export async function eventually<T>(
  what: string,
  withinMs: number,
  holds: () => Promise<T> | T,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
