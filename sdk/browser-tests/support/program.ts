// Other people's servers: examples and builds, started by the command that is documented.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { eventually } from "./eventually.js";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

const READY_WITHIN_MS = 60_000;

export interface Program {
  output(): string;
  stop(): Promise<void>;
}

/** Runs `command` in `folder` until it is stopped; ready once `url` answers. */
export async function startProgram(
  command: string,
  { folder = ROOT, env, url }: { folder?: string; env: Record<string, string>; url: string },
): Promise<Program> {
  // A group of its own, so that what the command starts ends with it.
  const child = spawn("bash", ["-c", `exec ${command}`], {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  let ended = false;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk));
  const gone = new Promise<void>((resolve) => child.on("exit", () => ((ended = true), resolve())));
  const kill = (signal: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, signal);
    } catch {
      // nobody is left
    }
  };
  const killWithParent = () => kill("SIGKILL");
  process.on("exit", killWithParent);

  const stop = async () => {
    process.off("exit", killWithParent);
    kill("SIGTERM");
    await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 2_000))]);
    kill("SIGKILL");
    await gone;
  };
  try {
    await eventually(`'${command}' answers at ${url}`, READY_WITHIN_MS, async () => {
      if (ended) throw new Error(`'${command}' ended`);
      return (await fetch(url).catch(() => null))?.ok;
    });
  } catch (error) {
    await stop();
    throw new Error(`${String(error)}:\n${output}`);
  }
  return { output: () => output, stop };
}
