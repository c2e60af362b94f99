// The README's section for browsers, as printed, in an empty Vite application.
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { build } from "vite";
import { expect, test } from "vitest";

import { binary, EXPERIMENT } from "../support/edgeseal.js";
import { ROOT } from "../support/program.js";
import { startSite } from "../support/site.js";
import { useWorld } from "../support/world.js";

const world = useWorld();

const SECTION = "## In the browser";
const EDGE_OF_MAKE_RUN = "http://localhost:8080";

/** The fenced blocks of the section, by what stands behind their three backticks. */
async function blocks(): Promise<Map<string, string>> {
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const section = readme.split(SECTION)[1]?.split("\n## ")[0];
  if (!section) throw new Error(`the README has no section '${SECTION}'`);
  return new Map([...section.matchAll(/^```(.*)\n([^]*?)^```/gm)].map(([, info, text]) => [info!, text!]));
}

/** What `npm create vite -- --template react-ts` leaves once its own sources are gone. */
const EMPTY_APP = {
  "package.json": JSON.stringify({ name: "shop", private: true, type: "module" }),
  "index.html": '<!doctype html><div id="root"></div><script type="module" src="/src/main.tsx"></script>',
  "tsconfig.json": JSON.stringify({
    compilerOptions: {
      target: "ES2023",
      lib: ["ES2023", "DOM", "DOM.Iterable"],
      module: "ESNext",
      types: ["vite/client"],
      skipLibCheck: true,
      moduleResolution: "bundler",
      allowImportingTsExtensions: true,
      verbatimModuleSyntax: true,
      moduleDetection: "force",
      noEmit: true,
      jsx: "react-jsx",
      strict: true,
      noUnusedLocals: true,
      noUnusedParameters: true,
      erasableSyntaxOnly: true,
      noFallthroughCasesInSwitch: true,
    },
    include: ["src"],
  }),
};
const DEPENDENCIES = [
  "@noble/ed25519",
  "react",
  "react-dom",
  "scheduler",
  "@types/react",
  "@types/react-dom",
  "csstype",
  "vite",
];

async function makeApp(folder: string): Promise<void> {
  for (const [name, text] of Object.entries(EMPTY_APP)) await writeFile(join(folder, name), text);
  for (const name of DEPENDENCIES) {
    const place = join(folder, "node_modules", name);
    await mkdir(dirname(place), { recursive: true });
    await symlink(join(ROOT, "node_modules", name), place);
  }
}

/** What `npm install` of the packed packages does: exactly the files that would be published. */
async function installPacked(folder: string, names: string[]): Promise<void> {
  for (const name of names) {
    const packed = execFileSync(
      "npm",
      ["pack", "--silent", "--workspace", name, "--pack-destination", folder],
      {
        cwd: ROOT,
        encoding: "utf8",
      },
    );
    const place = join(folder, "node_modules", name);
    await mkdir(place, { recursive: true });
    execFileSync("tar", ["-xzf", join(folder, packed.trim()), "-C", place, "--strip-components=1"]);
  }
}

test("the snippet type checks, builds, and shows the variant", async () => {
  const printed = await blocks();
  const folder = await mkdtemp(join(tmpdir(), "edgeseal-shop-"));
  try {
    await makeApp(folder);
    await installPacked(folder, ["@edgeseal/client", "@edgeseal/react"]);
    await mkdir(join(folder, "src"));

    // The commands: packing and installing were done above, offline; whatever calls the binary runs as printed.
    const commands = (printed.get("sh shop") ?? "")
      .split("\n")
      .filter((line) => line.startsWith("edgeseal "));
    expect(commands.length).toBeGreaterThan(0);
    await writeFile(join(folder, "admin.token"), world.server.adminToken);
    for (const command of commands) {
      execFileSync("bash", ["--norc", "-c", command], {
        cwd: folder,
        env: {
          PATH: `${dirname(binary)}:${process.env["PATH"]}`,
          EDGESEAL_CONTROL: world.server.controlUrl,
          EDGESEAL_TOKEN_FILE: join(folder, "admin.token"),
        },
      });
    }

    const sources = [...printed].filter(([info]) => /^tsx? src\//.test(info));
    expect(sources.length).toBeGreaterThan(0);
    for (const [info, text] of sources) {
      expect(text).toContain(EDGE_OF_MAKE_RUN);
      await writeFile(join(folder, info.split(" ")[1]!), text.replace(EDGE_OF_MAKE_RUN, world.proxy.url));
    }
    execFileSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], { stdio: "inherit" });
    await build({ root: folder, configFile: false, logLevel: "error" });

    await world.server.force(EXPERIMENT, "user-1", "treatment");
    const site = await startSite(join(folder, "dist"));
    try {
      const page = await (await world.visitor()).newPage();
      const problems: string[] = [];
      page.on("pageerror", (error) => problems.push(String(error)));
      await page.goto(`${site.url}/index.html`);
      await page.getByRole("button", { name: "Buy now" }).waitFor();
      await world.server.pause(EXPERIMENT);
      await page.getByRole("button", { name: "Continue" }).waitFor();
      expect(problems).toEqual([]);
    } finally {
      await site.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 60_000);
