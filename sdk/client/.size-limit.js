/**
 * Everything that `@edgeseal/client` exports, as a bundler writes it. Only the Ed25519 for engines without one is left
 * out: it is loaded where it is needed, and nowhere else. The limit is what has been reached; the target is 5.5 kB.
 */
export default [
  {
    name: "@edgeseal/client",
    path: "dist/index.js",
    limit: "7.15 kB",
    gzip: true,
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: ["./fallback.js"] }),
  },
];
