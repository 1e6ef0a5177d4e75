// Pictures of fixed scenes for the documentation, in docs/page: light, dark and on a phone; empty, busy, and in an
// incident. Not a test: it runs only when pictures are wanted (`npm run screenshots`), and a person looks at them.

import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { BrowserContextOptions } from "playwright-core";
import { describe, expect } from "vitest";
import type { Watched } from "../rig/browser.ts";
import { pause, type Site, until } from "../rig/programs.ts";
import { scenario } from "../rig/scenario.ts";

const FOLDER = new URL("../../../../docs/page/", import.meta.url).pathname;
/** Bytes of a picture. */
const MOST = 100 * 1024;

const LOOKS: Readonly<Record<string, BrowserContextOptions>> = {
  light: { colorScheme: "light", viewport: { width: 1200, height: 760 } },
  dark: { colorScheme: "dark", viewport: { width: 1200, height: 760 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true },
};

async function picture(watched: Watched, name: string): Promise<void> {
  await pause(600);
  mkdirSync(FOLDER, { recursive: true });
  const path = join(FOLDER, `${name}.png`);
  await watched.page.screenshot({ path });
  // Few colours are enough for a page of flat areas.
  try {
    execFileSync("pngquant", ["--force", "--skip-if-larger", "--output", path, "64", path], { stdio: "ignore" });
  } catch {
    // It stays as it is.
  }
  expect(statSync(path).size, `${name} in bytes`).toBeLessThanOrEqual(MOST);
}

/** Agents that do different things. */
async function busy(site: Site): Promise<{ terminal: string; agent: string }> {
  const draws = site.file(
    "coder.sh",
    `#!/bin/bash
printf '\\033]0;payments: fix the flaky test\\007'
printf '\\033[38;2;215;119;87m╭──────────────────────────────────────────────────────────╮\\n│ ✻ \\033[1mWelcome to the coding agent\\033[22m                            │\\n╰──────────────────────────────────────────────────────────╯\\033[0m\\n\\n'
printf '\\033[1m> fix the flaky test in payments\\033[0m\\n\\n'
printf '\\033[32m⏺\\033[0m \\033[1mRead\\033[0m(tests/settle.rs)\\n  ⎿  Read 118 lines\\n\\n'
printf '\\033[32m⏺\\033[0m \\033[1mBash\\033[0m(cargo test settle)\\n  ⎿  \\033[31mtest settles_twice ... FAILED\\033[0m\\n     left: 41, right: 42\\n\\n'
printf '\\033[33m✶ Thinking… (12s · esc to interrupt)\\033[0m\\n\\n> '
exec cat
`,
  );
  site.agent("coder-payments", { arguments: ["--runner", "terminal", "--size", "80x24"], program: ["bash", draws] });
  for (const name of ["build-7", "reviewer", "docs-writer", "laptop-of-ann"]) site.agent(name);
  const terminal = await site.terminal("coder-payments", "Thinking");
  for (const name of ["build-7", "reviewer", "docs-writer", "laptop-of-ann"]) await site.status(name, "online");
  const { agent_id } = await site.status("build-7", "online");
  site.onsembl(["exec", "--detach", "build-7", "--", "cargo test --workspace; sleep 600"]);
  site.onsembl(["exec", "reviewer", "--", "echo looked at 14 files"]);
  try {
    site.onsembl(["exec", "docs-writer", "--", "make docs; exit 2"]);
  } catch {
    // It fails: that is the scene.
  }
  return { terminal, agent: agent_id };
}

describe.runIf(process.env["ONSEMBL_SCREENSHOTS"] === "1")("pictures", () => {
  for (const [look, options] of Object.entries(LOOKS)) {
    scenario(
      `of the ${look} page`,
      async ({ site, signedIn }) => {
        await site.restart({ interval: 10 });
        const watched = await signedIn(options);
        const { page } = watched;
        await page.getByRole("heading", { name: "No agents yet" }).waitFor();
        await until("the command", async () => (await page.locator(".command-line code").count()) > 0);
        await picture(watched, `empty-${look}`);

        const { terminal, agent } = await busy(site);
        await page.goto(`${site.address}/fleet`);
        await page.getByRole("row", { name: /build-7/ }).waitFor();
        await pause(12_000);
        await picture(watched, `busy-${look}`);
        await page.goto(`${site.address}/agents/${agent}`);
        await page.getByRole("heading", { name: "build-7" }).waitFor();
        await pause(2_000);
        await picture(watched, `agent-${look}`);
        await page.goto(`${site.address}/terminals/${terminal}`);
        await until("the screen", async () => (await watched.screen()).includes("Thinking"));
        await picture(watched, `terminal-${look}`);
        await page.goto(`${site.address}/terminals/${terminal}/log`);
        await page.getByText("Welcome to the coding agent").waitFor();
        await picture(watched, `log-${look}`);

        await site.api("/api/stop", "ann", { method: "POST", body: JSON.stringify({ all: true, reason: "wrong branch" }) });
        await page.goto(`${site.address}/stop`);
        await until("receipts", async () => /[1-9] of \d/.test(await page.locator(".receipts").innerText()));
        await picture(watched, `incident-${look}`);
      },
      240_000,
    );
  }
});
