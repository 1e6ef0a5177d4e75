// Agents come, work, and are stopped; the page says the same as the command line.

import { expect } from "vitest";
import { pause, until } from "../rig/programs.ts";
import { scenario } from "../rig/scenario.ts";

scenario("the empty page has the command that adds the first agent, and becomes its row", async ({ site, signedIn }) => {
  const watched = await signedIn();
  await watched.page.getByRole("heading", { name: "No agents yet" }).waitFor();
  await until("the command", async () => (await watched.page.locator(".command-line code").first().innerText()).startsWith("onsembl-agent"));
  await watched.accessible("the empty fleet");
  site.agent("first");
  await watched.page.getByRole("row", { name: /first/ }).waitFor();
  expect(await watched.page.getByRole("row", { name: /first/ }).innerText()).toContain("online");
});

scenario("a command runs, shows its output, and another one is cancelled", async ({ site, signedIn }) => {
  site.agent("worker");
  const { agent_id } = await site.status("worker", "online");
  const watched = await signedIn();
  const { page } = watched;
  await page.getByRole("link", { name: "worker" }).click();
  await page.getByRole("heading", { name: "worker" }).waitFor();
  await page.getByLabel("Command", { exact: true }).fill("echo seen-by-a-person; exit 3");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".receipts-list a").first().click();
  await page.getByText("seen-by-a-person").last().waitFor();
  await until("it failed with its exit code", async () => /exit code 3/.test(await page.locator("main").innerText()));
  await watched.accessible("a command");

  await page.goto(`${site.address}/agents/${agent_id}`);
  await page.getByLabel("Command", { exact: true }).fill("sleep 600");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".receipts-list a").first().click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await until("it is cancelled", async () => /cancelled/.test(await page.locator(".sentences").innerText()));
  await page.goto(`${site.address}/commands`);
  await page.getByText("sleep 600").waitFor();
  await watched.accessible("the commands");
});

scenario("the page has the words of `onsembl agents`", async ({ site, signedIn }) => {
  const gone = site.agent("gone");
  for (const name of ["alpha", "beta"]) site.agent(name);
  for (const name of ["alpha", "beta", "gone"]) await site.status(name, "online");
  await gone.stop();
  await site.status("gone", "offline");
  const watched = await signedIn();
  await watched.page.getByRole("row", { name: /gone/ }).waitFor();
  const { agents } = JSON.parse(site.onsembl(["agents", "-o", "json"])) as { agents: { name: string; status: string; because: string }[] };
  expect(agents.length).toBe(3);
  for (const { name, status, because } of agents) {
    const row = watched.page.getByRole("row", { name: new RegExp(name) });
    expect(await row.locator(".word").innerText()).toBe(status);
    expect(await row.locator(".because").getAttribute("title")).toBe(because);
  }
  await watched.accessible("the fleet");
});

scenario("a stop shows its receipts, says what an absent agent means, and is released by a number", async ({ site, signedIn }) => {
  const away = site.agent("away");
  site.agent("there");
  await site.status("there", "online");
  await site.status("away", "online");
  away.signal("SIGSTOP");
  await until("one is away", async () => (await site.agents()).get("away")?.status !== "online");
  const watched = await signedIn();
  const { page } = watched;
  await page.getByRole("row", { name: /there/ }).waitFor();
  await page.keyboard.press("Control+Shift+.");
  await page.getByRole("heading", { name: "Emergency stop" }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Verified" }).waitFor();
  await until("one has verified", async () => /1 of 2/.test(await page.locator(".receipt").last().innerText()));
  await page.getByText(/without a receipt/).waitFor();
  await watched.accessible("a stop");
  away.signal("SIGCONT");
  await until("both have verified", async () => /2 of 2/.test(await page.locator(".receipt").last().innerText()), 30_000);
  await page.getByLabel(/Type the number of stopped agents/).fill("1");
  expect(await page.getByRole("button", { name: "Release" }).isDisabled()).toBe(true);
  await page.getByLabel(/Type the number of stopped agents/).fill("2");
  await page.getByRole("button", { name: "Release" }).click();
  await page.getByText("Emergency stop in force").waitFor({ state: "detached" });
  await until("released", async () => (await site.api<{ agents: { stopped: unknown }[] }>("/api/agents")).agents.every((agent) => agent.stopped === null));
});

scenario("every view can be used by keyboard, on a phone, and at 400 %", async ({ site, signedIn }) => {
  site.agent("worker");
  await site.status("worker", "online");
  const watched = await signedIn();
  const { page } = watched;
  await page.getByRole("row", { name: /worker/ }).waitFor();
  // To the agent through the palette, without a pointer.
  await page.keyboard.press("Control+k");
  await page.keyboard.type("worker");
  await pause(200);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "worker" }).waitFor();
  const views = ["/fleet", "/commands", "/stop", "/incidents", "/settings", `/agents/${(await site.status("worker", "online")).agent_id}`];
  for (const size of [
    { width: 390, height: 844 },
    // 1280 pixels at 400 %.
    { width: 320, height: 256 },
  ]) {
    await page.setViewportSize(size);
    for (const view of views) {
      await page.goto(`${site.address}${view}`);
      await page.locator(".frame main h1").first().waitFor({ state: "attached" });
      await pause(150);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(wide, `${view} at ${size.width} scrolls sideways`).toBeLessThanOrEqual(0);
    }
  }
  for (const scheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width: 390, height: 844 });
    for (const view of views) {
      await page.goto(`${site.address}${view}`);
      await page.locator(".frame main h1").first().waitFor({ state: "attached" });
      await pause(300);
      await watched.accessible(`${view}, ${scheme}`);
    }
  }
}, 180_000);
