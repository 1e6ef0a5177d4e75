// Runs the scenarios one after another: each has a server, agents and a browser of its own, and two CPUs are enough.

import { defineConfig } from "vitest/config";

export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  test: {
    include: ["browser/scenarios/*.scenario.ts"],
    environment: "node",
    globalSetup: "browser/report.ts",
    fileParallelism: false,
    sequence: { concurrent: false },
    testTimeout: 90_000,
    hookTimeout: 60_000,
    retry: 0,
    reporters: ["verbose"],
  },
} as Parameters<typeof defineConfig>[0]);
