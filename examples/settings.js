import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Where the edge is and what to trust: from the variables, else as `make run` has it. Only public things; all of it
 * may go to browsers.
 */
export function settings({ port }) {
  return {
    edgeUrl: process.env.EDGESEAL_URL ?? "http://localhost:8080",
    environment: process.env.EDGESEAL_ENVIRONMENT ?? "production",
    rootKey: rootKey(
      process.env.EDGESEAL_ROOT_KEY ?? fileURLToPath(new URL("../.edgeseal/root.jwk", import.meta.url)),
    ),
    port: Number(process.env.PORT ?? port),
  };
}

/** 32 bytes in base64url; `value` is that, or a JWK, or a file with one, as for `edgeseal verify --root-key`. */
function rootKey(value) {
  if (/^[\w-]{43}$/.test(value)) return value;
  if (value.startsWith("{")) return JSON.parse(value).x;
  // npm changes to the example's folder before it starts anything.
  const file = resolve(process.env.INIT_CWD ?? ".", value);
  try {
    return JSON.parse(readFileSync(file, "utf8")).x;
  } catch (cause) {
    throw new Error(`no root key in '${file}': start \`make run\` first, or set EDGESEAL_ROOT_KEY`, {
      cause,
    });
  }
}
