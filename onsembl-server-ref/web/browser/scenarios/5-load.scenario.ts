// What a large fleet costs the page.

import { expect } from "vitest";
import { rendererSeconds } from "../rig/browser.ts";
import { FakeFleet } from "../rig/load.ts";
import { pause, until } from "../rig/programs.ts";
import { scenario } from "../rig/scenario.ts";

scenario(
  "2,000 agents at 200 changes a second: no long frame, and few rows in the document",
  async ({ site, signedIn }) => {
    await site.restart({ interval: 30 });
    const fleet = await FakeFleet.connect(site.address, site.token("ann", "agent"), 2_000);
    try {
      expect(fleet.size).toBe(2_000);
      fleet.beat(30_000);
      const watched = await signedIn();
      const { page } = watched;
      await until("all are there", async () => /2,?000 of 2,?000 agents in session/.test(await page.locator(".server").innerText()), 30_000);
      fleet.change(200);
      await pause(2_000);
      await watched.measureFrames();
      await pause(10_000);
      await page.mouse.wheel(0, 40_000);
      await pause(2_000);
      await watched.expectSmooth();
      const rows = await page.locator("tr.agent").count();
      expect(rows).toBeLessThan(120);
      expect(await page.getByText(/working|waiting/).count()).toBeGreaterThan(0);
    } finally {
      fleet.close();
    }
  },
  180_000,
);

scenario(
  "1,000 agents at one beat a second: the page takes a tenth of a CPU at most",
  async ({ site, browser, signedIn }) => {
    await site.restart({ interval: 1 });
    const fleet = await FakeFleet.connect(site.address, site.token("ann", "agent"), 1_000);
    try {
      fleet.beat(1_000);
      const watched = await signedIn();
      await until("all are there", async () => /1,?000 of 1,?000 agents in session/.test(await watched.page.locator(".server").innerText()), 30_000);
      await pause(5_000);
      const before = await rendererSeconds(browser);
      await pause(20_000);
      const used = (await rendererSeconds(browser)) - before;
      console.log(`the page used ${used.toFixed(2)} s of CPU in 20 s`);
      expect(used / 20).toBeLessThanOrEqual(0.1);
    } finally {
      fleet.close();
    }
  },
  180_000,
);
