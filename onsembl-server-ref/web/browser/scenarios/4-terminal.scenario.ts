// A terminal in the page: right at once, typed into only when asked for, exact in the log.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import type { Watched } from "../rig/browser.ts";
import { pause, type Site, until } from "../rig/programs.ts";
import { scenario, SHELL } from "../rig/scenario.ts";

async function opened(watched: Watched, site: Site, terminal: string, shows: string): Promise<void> {
  await watched.page.goto(`${site.address}/terminals/${terminal}`);
  await until(`the emulator shows ${shows}`, async () => (await watched.screen()).includes(shows));
}

async function typing(watched: Watched): Promise<void> {
  await watched.page.getByRole("button", { name: "Type here" }).click();
  await until("this page types", async () => (await watched.page.locator(".terminal-keyboard").getAttribute("data-mode")) === "on");
}

scenario("a program that draws over the whole screen is there at once, typed into, and resized", async ({ site, signedIn }) => {
  site.file("long.txt", Array.from({ length: 200 }, (_, n) => `row ${n} ${"\u00e9".repeat(n % 9)}`).join("\n"));
  site.agent("editor", { arguments: ["--runner", "terminal", "--size", "80x24"], program: ["less", `${site.folder}/long.txt`] });
  const terminal = await site.terminal("editor", "row 3");
  const watched = await signedIn();
  const { page } = watched;
  await opened(watched, site, terminal, "row 3");
  expect(await page.locator(".terminal-lane").innerText()).toContain("live");

  // Typing is off until it is asked for.
  await page.locator(".terminal-frame").click();
  await page.keyboard.type(" ");
  await pause(700);
  expect(await watched.screen()).toContain("row 3");
  await typing(watched);
  await page.keyboard.type(" ");
  await until("the next page", async () => (await watched.screen()).includes("row 30"));

  // The keyboard leads out of it again, and back.
  await page.keyboard.press("Control+]");
  await until("nobody types", async () => (await page.locator(".terminal-keyboard").getAttribute("data-mode")) === "off");
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Type here");
  await page.keyboard.press("Enter");
  await until("this page types again", async () => (await page.locator(".terminal-keyboard").getAttribute("data-mode")) === "on");

  await page.getByRole("button", { name: "Fit to window" }).click();
  await until("another size", async () => !/80 × 24/.test(await page.locator(".terminal-state").innerText()));
  const said = /(\d+) × (\d+)/.exec(await page.locator(".terminal-state").innerText());
  await until("the server has it too", async () => {
    const screen = await site.api<{ size: { columns: number; rows: number } }>(`/api/commands/${terminal}/screen`);
    return screen.size.columns === Number(said?.[1]) && screen.size.rows === Number(said?.[2]);
  });
  await watched.accessible("a terminal");
  await page.emulateMedia({ colorScheme: "dark" });
  await watched.accessible("a terminal, dark");
  await page.getByRole("button", { name: "Screen reader" }).click();
  await until("its rows are described", async () => (await page.locator(".xterm-accessibility").count()) === 1);
  await watched.accessible("a terminal for screen readers");
});

scenario("colours are right under the policy, whatever form they have", async ({ site, signedIn }) => {
  const show = site.file("colours.sh", `#!/bin/sh\nprintf '\\033[31mpalette\\033[0m \\033[38;5;208mlarge\\033[0m \\033[38;2;1;130;70mtrue\\033[0m done\\n'; exec cat\n`);
  site.agent("painter", { arguments: ["--runner", "terminal", "--size", "80x24"], program: [show] });
  const terminal = await site.terminal("painter", "done");
  const watched = await signedIn({ colorScheme: "light" });
  await opened(watched, site, terminal, "done");
  const colours = await watched.page.evaluate(() => {
    const of = (text: string): string => {
      const span = [...document.querySelectorAll(".xterm-rows span")].find((one) => one.textContent?.includes(text));
      return span == null ? "none" : getComputedStyle(span).color;
    };
    return [of("palette"), of("true"), of("done")];
  });
  expect(new Set(colours).size).toBe(3);
  expect(colours[1]).toBe("rgb(1, 130, 70)");
});

scenario("two people: who types is shown, and the keyboard goes over only when it is asked for", async ({ site, signedIn }) => {
  site.agent("shell", SHELL);
  const terminal = await site.terminal("shell", "ready>");
  const [first, second] = [await signedIn(), await signedIn()];
  await opened(first, site, terminal, "ready>");
  await opened(second, site, terminal, "ready>");
  await typing(first);
  await until("the other one sees who types", async () => /ann in a browser types/.test(await second.page.locator(".terminal-keyboard").innerText()));
  await first.page.keyboard.type("echo from-the-$((1+0))st");
  await first.page.keyboard.press("Enter");
  await until("both see it", async () => (await second.screen()).includes("from-the-1st"));
  await second.page.getByRole("button", { name: "Take over" }).click();
  await until("the second types", async () => (await second.page.locator(".terminal-keyboard").getAttribute("data-mode")) === "on");
  await until("the first one is told", async () => /types since/.test(await first.page.locator(".terminal-keyboard").innerText()));
  await first.page.keyboard.type("nothing");
  await second.page.keyboard.type("echo from-the-$((1+1))nd");
  await second.page.keyboard.press("Enter");
  await until("the first one sees it", async () => (await first.screen()).includes("from-the-2nd"));
  expect(await first.screen()).not.toContain("nothing");
});

scenario("a paste with lines asks first, a copy and a link of a program do nothing by themselves", async ({ site, signedIn }) => {
  const show = site.file("asks.sh", `#!/bin/sh\nprintf 'ready>'; read line; printf '\\033]52;c;aGVsbG8=\\007\\033]8;;https://example.com/x\\033\\\\a-link\\033]8;;\\033\\\\ shown\\n'; exec cat\n`);
  site.agent("asks", { arguments: ["--runner", "terminal", "--size", "80x24"], program: [show] });
  const terminal = await site.terminal("asks", "ready>");
  const watched = await signedIn();
  const { page } = watched;
  await opened(watched, site, terminal, "ready>");
  await typing(watched);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: /wants to copy/ }).waitFor();
  await page.getByRole("button", { name: "No" }).click();
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.setData("text/plain", "one\ntwo\n");
    document.querySelector(".xterm-helper-textarea")?.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  });
  await page.getByRole("heading", { name: /^Paste 3 lines/ }).waitFor();
  await watched.accessible("a question");
  await page.getByRole("button", { name: "No" }).click();
  await pause(400);
  expect(await watched.screen()).not.toContain("two");
  // The emulator has no element for a link: it is where its text is.
  const box = await page.locator(".xterm-rows > div", { hasText: "a-link" }).boundingBox();
  await page.mouse.move((box?.x ?? 0) + 20, (box?.y ?? 0) + 8, { steps: 5 });
  await page.getByText("https://example.com/x").waitFor();
  await page.mouse.click((box?.x ?? 0) + 20, (box?.y ?? 0) + 8);
  await page.getByRole("heading", { name: /^Open this address/ }).waitFor();
  await page.getByRole("button", { name: "No" }).click();
  expect(watched.context.pages().length).toBe(1);
});

scenario("a text is submitted with its receipt, and found in the log with its place", async ({ site, signedIn }) => {
  site.agent("shell", SHELL);
  const terminal = await site.terminal("shell", "ready>");
  const watched = await signedIn();
  const { page } = watched;
  await opened(watched, site, terminal, "ready>");
  await page.getByLabel("Text for the program").fill("for n in $(seq 400); do echo number $n; done");
  await page.keyboard.press("Enter");
  await until("its receipt", async () => /completed/.test(await page.locator(".terminal-receipts").innerText()));
  await until("its output", async () => (await watched.screen()).includes("number 400"));
  await page.getByLabel("Text for the program").press("ArrowUp");
  expect(await page.getByLabel("Text for the program").inputValue()).toContain("seq 400");

  // Scrolled up it holds, and says how much is below.
  await page.locator(".xterm-screen").hover();
  await page.mouse.wheel(0, -600);
  await page.getByRole("button", { name: /lines below/ }).click();
  await page.getByRole("button", { name: /lines below/ }).waitFor({ state: "detached" });

  await page.getByRole("link", { name: "Open as log" }).click();
  await page.getByText("number 400").waitFor();
  await page.getByLabel("Find in all stored output").fill("number 77");
  await page.getByRole("button", { name: "Find" }).last().click();
  await page.locator(".log-row.marked", { hasText: "number 77" }).waitFor();
  await page.locator(".log-row.marked .log-at").click();
  const link = page.url();
  expect(link).toMatch(/\/log#offset=\d+/);
  await watched.accessible("a log");
  const other = await signedIn();
  await other.page.goto(link);
  await other.page.locator(".log-row.marked", { hasText: "number 77" }).waitFor();

  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  const bytes = readFileSync(await download.path());
  const stored = site.onsembl(["output", terminal, "--raw"]);
  expect(bytes.toString("utf8")).toBe(stored);
});

scenario("a terminal over a killed server continues where it was", async ({ site, signedIn }) => {
  site.agent("shell", SHELL);
  const terminal = await site.terminal("shell", "ready>");
  const watched = await signedIn();
  await opened(watched, site, terminal, "ready>");
  await typing(watched);
  await watched.page.keyboard.type("echo before");
  await watched.page.keyboard.press("Enter");
  await until("before", async () => (await watched.screen()).split("before").length >= 3);
  await site.server.kill();
  await until("it says so", async () => /not connected/.test(await watched.page.locator(".terminal-lane").innerText()));
  expect(await watched.screen()).toContain("before");
  await site.serve();
  await until("it is live again", async () => /live/.test(await watched.page.locator(".terminal-lane").innerText()), 30_000);
  await until("it types again", async () => (await watched.page.locator(".terminal-keyboard").getAttribute("data-mode")) === "on", 30_000);
  await watched.page.keyboard.type("echo after");
  await watched.page.keyboard.press("Enter");
  await until("after", async () => (await watched.screen()).split("after").length >= 3);
});

scenario("on a phone it has the keys that a soft keyboard lacks, and nothing scrolls sideways but the terminal", async ({ site, signedIn }) => {
  site.agent("shell", SHELL);
  const terminal = await site.terminal("shell", "ready>");
  const watched = await signedIn({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  const { page } = watched;
  await opened(watched, site, terminal, "ready>");
  await typing(watched);
  await page.getByRole("button", { name: "Control C" }).tap();
  await until("it came", async () => (await watched.screen()).includes("^C"));
  for (const button of await page.locator(".terminal-keys button").all()) {
    const box = await button.boundingBox();
    expect(Math.min(box?.width ?? 0, box?.height ?? 0), await button.innerText()).toBeGreaterThanOrEqual(44);
  }
  for (const view of ["", "/log"]) {
    await page.goto(`${site.address}/terminals/${terminal}${view}`);
    await page.getByText("ready>").first().waitFor();
    for (const size of [
      { width: 390, height: 780 },
      { width: 320, height: 256 },
    ]) {
      await page.setViewportSize(size);
      await pause(300);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(wide, `${view} at ${size.width}`).toBeLessThanOrEqual(0);
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        await watched.accessible(`a terminal${view} at ${size.width}, ${colorScheme}`);
      }
    }
  }
});

const FLOOD = Number(process.env["ONSEMBL_FLOOD_SECONDS"] ?? "10");

scenario(
  `${FLOOD} s of yes: no long frame, bounded memory, and an exact archive`,
  async ({ site, signedIn }) => {
    site.agent("shell", SHELL);
    const terminal = await site.terminal("shell", "ready>");
    const watched = await signedIn();
    await opened(watched, site, terminal, "ready>");
    await typing(watched);
    await pause(1_000);
    const before = await watched.memory();
    await watched.page.keyboard.type(`clear; timeout ${FLOOD} yes a-line-of-yes; echo flood-is-over`);
    await watched.measureFrames();
    await watched.page.keyboard.press("Enter");
    await pause(FLOOD * 1_000);
    await until("the end", async () => /flood-is-over\s*\n\s*ready>/.test(await watched.screen()), 60_000);
    await watched.expectSmooth();
    const after = await watched.memory();
    console.log(`heap ${Math.round(before.heap / 1e6)} to ${Math.round(after.heap / 1e6)} MB`);
    expect(after.heap - before.heap).toBeLessThan(60e6);
    expect(await watched.page.locator(".terminal-missing summary").innerText()).toMatch(/skipped, stored/);
    // The archive has every line, whole and in order, or says what is missing.
    const records = await fetch(`${site.address}/api/commands/${terminal}/output`, { headers: { Authorization: `Bearer ${site.token("ann")}` } });
    let [offset, gaps] = [0, 0];
    const hash = createHash("sha256");
    const lines = (await records.text()).split("\n").filter((line) => line !== "");
    for (const line of lines) {
      const { output, gap } = JSON.parse(line) as { output?: { offset: number; content: string; encoding: string }; gap?: { offset: number; length: number } };
      if (output !== undefined) {
        expect(output.offset).toBe(offset);
        const bytes = Buffer.from(output.content, output.encoding === "base64" ? "base64" : "utf8");
        hash.update(bytes);
        offset += bytes.length;
      } else if (gap !== undefined) {
        expect(gap.offset).toBe(offset);
        offset += gap.length;
        gaps += gap.length;
      }
    }
    console.log(`archive: ${offset} bytes, ${gaps} declared missing, sha256 ${hash.digest("hex").slice(0, 16)}`);
    expect(offset).toBeGreaterThan(1e6);
    const audit = JSON.parse(site.onsembl(["audit", "shell", "-o", "json"])) as { balanced: boolean };
    expect(audit.balanced).toBe(true);
  },
  (FLOOD + 120) * 1_000,
);
