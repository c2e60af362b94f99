// `make bench ONLY=browser`: the same pages, measured instead of tested.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["bench/**/*.ts"],
    globalSetup: ["support/build-pages.ts"],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 60_000,
  },
});
