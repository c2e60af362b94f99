// The pages that tests open, built the way applications build theirs.
import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("pages"),
  resolve: {
    // What judges the vectors is written against the sources; here it judges what was built from them.
    alias: [{ find: /^(\.\.\/)+src\/(.+\.js)$/, replacement: `${here("../client/dist")}/$2` }],
  },
  build: {
    emptyOutDir: true,
    target: "es2022",
    rolldownOptions: {
      input: ["client", "react", "verify"].map((name) => here(`pages/${name}.html`)),
      output: { entryFileNames: "[name].js" },
      // "use client" means something to frameworks with server components, and nothing here.
      onwarn: (warning, warn) => (warning.code === "MODULE_LEVEL_DIRECTIVE" ? undefined : warn(warning)),
    },
  },
});
