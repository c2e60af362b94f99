// Once before all tests: the packages from their sources, then the pages on top of what was built.
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "vite";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The folder that the pages were built into. */
    pages: string;
  }
}

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  for (const name of ["@edgeseal/client", "@edgeseal/react"]) {
    execFileSync("npm", ["run", "--silent", "--workspace", name, "build"], { cwd: ROOT, stdio: "inherit" });
  }
  const outDir = await mkdtemp(join(tmpdir(), "edgeseal-pages-"));
  const configFile = fileURLToPath(new URL("../vite.config.ts", import.meta.url));
  await build({ configFile, logLevel: "warn", build: { outDir } });
  project.provide("pages", outDir);
  return () => rm(outDir, { recursive: true, force: true });
}
