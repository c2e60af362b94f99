import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { settings } from "../settings.js";

const { port, ...publicSettings } = settings({ port: 5171 });

export default defineConfig({
  plugins: [react()],
  define: { EDGESEAL: JSON.stringify(publicSettings) },
  server: { port, strictPort: true },
  preview: { port, strictPort: true },
});
