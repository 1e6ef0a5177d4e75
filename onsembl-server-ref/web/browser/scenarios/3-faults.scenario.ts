// Planted faults: the page has the right words within two intervals, and what was there stays until it is replaced.

import { expect } from "vitest";
import { INTERVAL, pause, until } from "../rig/programs.ts";
import { Relay } from "../rig/relay.ts";
import { scenario } from "../rig/scenario.ts";

/** Two intervals behind the time after which a silence is one, and what a slow machine takes. */
const WORDS_WITHIN = 2 * INTERVAL * 1_000 + 4_000;

scenario("an agent that is frozen is shown as silent, and is back when it is thawed", async ({ site, signedIn }) => {
  const agent = site.agent("frozen");
  await site.status("frozen", "online");
  const watched = await signedIn();
  const row = watched.page.getByRole("row", { name: /frozen/ });
  await until("it is online", async () => (await row.locator(".word").innerText()) === "online");
  agent.signal("SIGSTOP");
  await until("it is stale or timed out", async () => /stale|timed-out/.test(await row.locator(".word").innerText()), WORDS_WITHIN);
  await until("it says why", async () => /silent|no frame|nothing|heard/i.test(await row.innerText()), WORDS_WITHIN);
  agent.signal("SIGCONT");
  await until("it is online again", async () => (await row.locator(".word").innerText()) === "online");
});

scenario("heartbeats are drawn as they come, and their strip says how many", async ({ site, signedIn }) => {
  site.agent("beating");
  await site.status("beating", "online");
  const watched = await signedIn();
  const strip = watched.page.getByRole("row", { name: /beating/ }).locator("svg.strip");
  await until("three of them are drawn", async () => ((await strip.locator("path.beat").getAttribute("d", { timeout: 500 })) ?? "").split("M").length > 3, 30_000);
  expect(await strip.getAttribute("aria-label")).toMatch(/\d+ of \d+ heartbeats/);
});

for (const direction of ["to-server", "to-agent"] as const) {
  scenario(`one direction is lost, ${direction}: the page says so`, async ({ site, signedIn }) => {
    const relay = await Relay.to(site.port);
    try {
      site.agent("half", { url: relay.url });
      const { agent_id } = await site.status("half", "online");
      await pause(3 * INTERVAL * 1_000);
      const watched = await signedIn();
      await watched.page.goto(`${site.address}/agents/${agent_id}`);
      await watched.page.getByRole("heading", { name: "half" }).waitFor();
      relay.drop(direction);
      const expected = direction === "to-server" ? /stale|timed-out/ : /heartbeats do not reach|stale|timed-out|reconnecting|not seen|answer/i;
      await until("its words", async () => expected.test(await watched.page.locator("main").innerText()), WORDS_WITHIN + 4_000);
      relay.passAgain();
      await until("it is online again", async () => (await site.agents()).get("half")?.status === "online", 40_000);
    } finally {
      await relay.close();
    }
  });
}

scenario("a server that is killed: the page says so, keeps what it shows, and is live again", async ({ site, signedIn }) => {
  site.agent("stays");
  await site.status("stays", "online");
  const watched = await signedIn();
  const { page } = watched;
  await page.getByRole("row", { name: /stays/ }).waitFor();
  await until("it is live", async () => /live, as of/.test(await page.locator(".live").innerText()));
  await site.server.kill();
  await until("it says so", async () => /not connected since .*because .*/.test(await page.locator(".live").innerText()));
  expect(await page.getByRole("row", { name: /stays/ }).count()).toBe(1);
  await pause(1_500);
  expect(await page.getByRole("row", { name: /stays/ }).count()).toBe(1);
  await site.serve();
  await until("it is live again", async () => /live, as of/.test(await page.locator(".live").innerText()), 30_000);
  await until("the agent is online", async () => (await page.getByRole("row", { name: /stays/ }).locator(".word").innerText()) === "online", 30_000);
  await page.goto(`${site.address}/incidents`);
  await until("the restart is an incident", async () => /restart/i.test(await page.locator("main").innerText()));
  await watched.accessible("the incidents");
});
