import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const require = createRequire(import.meta.url);
const folder = (name: string) => dirname(require.resolve(`${name}/package.json`));
const sibling = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));

export default defineConfig({
  root: sibling("react"),
  resolve: {
    alias: [
      { find: /^react(?=$|\/)/, replacement: folder("react") },
      { find: /^react-dom(?=$|\/)/, replacement: folder("react-dom") },
      { find: "@edgeseal/client/testing", replacement: sibling("client/src/testing.ts") },
    ],
  },
  test: {
    env: { REACT_MAJOR: "18" },
    environment: "happy-dom",
    include: ["test/**/*.test.{ts,tsx}"],
    // TanStack Query finds React by itself: the other one.
    exclude: ["test/query.test.tsx"],
  },
});
