// How the page is bundled: one app chunk, one lazy chunk for the terminal, names by content.
import { defineConfig } from "vite";

const server = process.env["ONSEMBL_SERVER"] ?? "http://127.0.0.1:8080";

/** Which of the two chunks a part belongs to. */
function named(...of: readonly string[]): string {
  return of.some((name) => /terminal|xterm/.test(name)) ? "terminal" : "app";
}

export default defineConfig({
  base: "/assets/",
  define: {
    __LICENCES__: JSON.stringify(process.env["ONSEMBL_LICENCES"] ?? "dev"),
  },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    assetsDir: "",
    assetsInlineLimit: 0,
    copyPublicDir: false,
    modulePreload: false,
    cssCodeSplit: true,
    cssMinify: "lightningcss",
    license: false,
    reportCompressedSize: false,
    // The build has limits of its own, by what is sent.
    chunkSizeWarningLimit: 1000,
    sourcemap: false,
    target: "es2022",
    // The style sheets use light-dark() and nesting as they are.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    rolldownOptions: {
      output: {
        entryFileNames: "app-[hash].js",
        chunkFileNames: (chunk) => `${named(chunk.facadeModuleId ?? chunk.name)}-[hash].js`,
        assetFileNames: (asset) => `${named(...asset.originalFileNames, ...asset.names)}-[hash][extname]`,
      },
    },
  },
  server: {
    proxy: {
      "/api": { target: server },
      "/ws": { target: server, ws: true },
    },
  },
  test: {
    include: ["test/**/*.test.ts", "test/**/*.test.tsx"],
    environment: "node",
  },
} as Parameters<typeof defineConfig>[0]);
