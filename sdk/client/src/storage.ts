import type { KeyValueStorage } from "./types.js";

/** JSON under names. */
export interface Store {
  get(name: string): any;
  /** Whether it will still be there after a reload. */
  set(name: string, value: unknown): boolean;
}

/** Keeps in `storage` what that takes, and the rest in memory: it may be missing, full, denied, or hold nonsense. */
export function openStore(
  storage: KeyValueStorage | null | undefined,
  fallback: "localStorage" | "sessionStorage",
): Store {
  const memory = new Map<string, string>();
  try {
    if (storage === undefined) storage = globalThis[fallback];
  } catch {
    // Denied: in memory then.
  }
  return {
    get(name) {
      try {
        return JSON.parse(memory.get(name) ?? storage!.getItem(name)!);
      } catch {
        // Denied, or not ours.
      }
    },
    set(name, value) {
      const text = JSON.stringify(value);
      try {
        // What cannot be replaced must not stay: it is out of date, or worse, a leaked token.
        storage!.removeItem(name);
        storage!.setItem(name, text);
        memory.delete(name);
        return true;
      } catch {
        return !memory.set(name, text);
      }
    },
  };
}
