// A real `edgeseal serve --demo`: on free ports, its data in a directory that goes away, its API at hand.
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { eventually } from "./eventually.js";
import { freePort } from "./ports.js";

export const binary =
  process.env["EDGESEAL_BIN"] ?? fileURLToPath(new URL("../../../target/debug/edgeseal", import.meta.url));

/** What every test of the demo looks at: two variants, half and half, for everyone. */
export const EXPERIMENT = "checkout-button";

interface Definition {
  variants: { key: string; weight: number }[];
  overrides?: Record<string, string>;
}

const READY_WITHIN_MS = 20_000;

export type Server = Awaited<ReturnType<typeof startEdgeseal>>;

/** `clockOffsetS` gives the server another time than the browser has, through libfaketime. */
export async function startEdgeseal({ clockOffsetS }: { clockOffsetS?: number } = {}) {
  const dataDir = await mkdtemp(join(tmpdir(), "edgeseal-browser-"));
  const [url, controlUrl] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
  const child = spawn(
    binary,
    ["serve", "--demo", "--data-dir", dataDir, "--listen", host(url), "--control-listen", host(controlUrl)],
    { env: { ...withoutSettings(process.env), ...clock(clockOffsetS) }, stdio: ["ignore", "pipe", "pipe"] },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk));
  let ended: string | undefined;
  const gone = new Promise<void>((resolve) => {
    const end = (why: string) => {
      ended = why;
      resolve();
    };
    child.on("error", (error) => end(`cannot start ${binary}: ${error.message}`));
    child.on("exit", (code, signal) => end(`the server ended with ${signal ?? code}:\n${output}`));
  });
  const killWithParent = () => child.kill("SIGKILL");
  process.on("exit", killWithParent);

  await eventually(`the server at ${url} is ready`, READY_WITHIN_MS, async () => {
    if (ended) throw new Error(ended);
    return (await fetch(`${url}/readyz`).catch(() => null))?.ok && /first admin token.*: (\S+)/.test(output);
  });
  const adminToken = /first admin token.*: (\S+)/.exec(output)![1]!;

  /** Calls the control plane's API and fails unless it agrees. */
  async function api<T = unknown>(method: string, path: string, body?: unknown, headers = {}): Promise<T> {
    const answer = await fetch(`${controlUrl}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  async function change(experiment: string, edit: (definition: Definition) => void): Promise<void> {
    const path = `/experiments/${experiment}`;
    const { definition, revision } = await api<{ definition: Definition; revision: number }>("GET", path);
    edit(definition);
    await api("PUT", path, definition, { "if-match": `"${revision}"` });
  }

  const { root } = await api<{ root: { jwk: { x: string } } }>("GET", "/keys");

  return {
    /** The edge. */
    url,
    controlUrl,
    adminToken,
    environment: "production",
    rootKey: root.jwk.x,
    api,

    async token(unit: string): Promise<string> {
      return (await fetch(`${url}/v1/assignments/${unit}`)).text();
    },

    /** The variant that the edge's answer says, read without verifying. */
    async variantOf(unit: string, experiment = EXPERIMENT): Promise<string | null> {
      return readVariant(await this.token(unit), experiment);
    },

    /** A unit whose variant is `variant` now. */
    async unitWith(variant: string, experiment = EXPERIMENT, prefix = "user-"): Promise<string> {
      for (let number = 1; number < 1000; number++) {
        if ((await this.variantOf(prefix + number, experiment)) === variant) return prefix + number;
      }
      throw new Error(`no unit has ${variant} in ${experiment}`);
    },

    pause: (experiment: string) => api("POST", `/experiments/${experiment}/pause`, { reason: "a test" }),
    resume: (experiment: string) => api("POST", `/experiments/${experiment}/resume`, { reason: "a test" }),

    /** Changes the shares of an experiment's variants, which moves units and raises its version. */
    setWeights: (experiment: string, weights: Record<string, number>) =>
      change(experiment, (definition) => {
        for (const variant of definition.variants) variant.weight = weights[variant.key] ?? variant.weight;
      }),

    /** Gives one unit a variant, whatever its bucket. */
    force: (experiment: string, unit: string, variant: string) =>
      change(experiment, (definition) => (definition.overrides = { [unit]: variant })),

    /** Publishes an edge key, and lets it sign at once. */
    async rotateEdgeKey(): Promise<void> {
      await api("POST", "/keys/rotate", { use: "edge", force: true });
      await api("POST", "/keys/rotate", { use: "edge", force: true });
    },

    async stop(): Promise<void> {
      process.off("exit", killWithParent);
      child.kill("SIGTERM");
      await gone;
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** The variant in a token's claims, unverified; null when the unit is not in the experiment. */
export function readVariant(token: string, experiment = EXPERIMENT): string | null {
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as {
    a: Record<string, { v: string }>;
  };
  return claims.a[experiment]?.v ?? null;
}

// Settings of the developer's own shell must not reach the server under test.
function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("EDGESEAL_")));
}

function clock(offsetS: number | undefined): NodeJS.ProcessEnv {
  if (!offsetS) return {};
  const library = process.env["EDGESEAL_TEST_FAKETIME_LIB"] ?? debiansFaketime();
  if (!library) {
    throw new Error(
      "no libfaketime: run scripts/install-faketime.sh, or name it in EDGESEAL_TEST_FAKETIME_LIB",
    );
  }
  return {
    LD_PRELOAD: library,
    FAKETIME: `${offsetS > 0 ? "+" : ""}${offsetS}`,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    NO_FAKE_STAT: "1",
  };
}

function debiansFaketime(): string | undefined {
  const folders = existsSync("/usr/lib") ? readdirSync("/usr/lib") : [];
  return folders.map((folder) => `/usr/lib/${folder}/faketime/libfaketime.so.1`).find(existsSync);
}

const host = (url: string) => new URL(url).host;
