// What a test tells a page, and what the page writes down for it.
import type { Edgeseal, EdgesealOptions } from "@edgeseal/client";

export interface TestConfig {
  options: EdgesealOptions;
  /** Which experiment the page shows. */
  experiment: string;
}

export interface Seen {
  /** Each text that stood where the variant belongs, in order: variants, or `default`. */
  shown: string[];
  /** Everything that the client told, in order. */
  told: { name: string; detail: Record<string, unknown> }[];
  /** When the first verified variant was shown: milliseconds since the page began to load. */
  verifiedAt: number | null;
}

declare global {
  interface Window {
    testConfig: TestConfig;
    edgeseal: Edgeseal;
    seen: Seen;
  }
}
