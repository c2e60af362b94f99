import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    alias: {
      // From source, so that the tests need no build.
      "@edgeseal/client/testing": fileURLToPath(new URL("../client/src/testing.ts", import.meta.url)),
    },
  },
  test: {
    env: { REACT_MAJOR: "19" },
    environment: "happy-dom",
    include: ["test/**/*.test.{ts,tsx}"],
  },
});
