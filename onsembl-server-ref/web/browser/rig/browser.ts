// Debian's Chromium by playwright-core, and what each page of a scenario is watched for: violations of the content
// security policy, errors, gaps between frames, and what axe-core finds.

import { cpus, loadavg } from "node:os";
import axe from "axe-core";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { expect } from "vitest";
import { chromiumPath } from "./browser-path.ts";
import type { Site } from "./programs.ts";

const FLAGS = [
  "--no-sandbox",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-domain-reliability",
  "--disable-sync",
  "--no-first-run",
  "--no-default-browser-check",
  "--metrics-recording-only",
  "--disable-features=Translate,OptimizationHints,MediaRouter,AutofillServerCommunication",
];

/** A browser, which is closed by whoever started it. */
export async function launch(): Promise<Browser> {
  const executablePath = chromiumPath();
  if (executablePath === null) throw new Error("chromium is missing");
  return chromium.launch({ executablePath, args: FLAGS });
}

/** Seconds of CPU that the pages of a browser have used so far. */
export async function rendererSeconds(browser: Browser): Promise<number> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  return processInfo.filter(({ type }) => type === "renderer").reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

/** A page that is watched. */
export class Watched {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly violations: string[] = [];
  readonly errors: string[] = [];

  private constructor(context: BrowserContext, page: Page) {
    this.context = context;
    this.page = page;
  }

  /** A page of a new context, before anything is loaded. */
  static async open(browser: Browser, options: BrowserContextOptions = {}): Promise<Watched> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
    const page = await context.newPage();
    const watched = new Watched(context, page);
    await page.exposeFunction("violated", (text: string) => watched.violations.push(text));
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        // What is only reported is not in force.
        if (event.disposition !== "enforce") return;
        const { violatedDirective, blockedURI, sourceFile, lineNumber, sample } = event;
        const report = (window as unknown as { violated: (text: string) => void }).violated;
        report(`${violatedDirective} ${blockedURI} ${sourceFile}:${lineNumber} ${sample}`);
      });
    });
    page.on("pageerror", (error) => watched.errors.push(error.message));
    page.on("console", (message) => {
      if (/Content.Security.Policy/i.test(message.text()) && !/report-only/i.test(message.text())) watched.violations.push(message.text());
    });
    return watched;
  }

  /** Signs in by a link of its own, and waits for the fleet. */
  async signIn(site: Site, user = "ann", readOnly = false): Promise<void> {
    const { url } = await site.api<{ url: string }>("/api/page/links", user, { method: "POST", body: JSON.stringify({ readOnly }) });
    await this.page.goto(url);
    await this.page.locator(".frame").waitFor();
  }

  /** Nothing was against the policy, and nothing failed. */
  expectClean(): void {
    expect(this.violations, "violations of the content security policy").toEqual([]);
    expect(this.errors, "errors of the page").toEqual([]);
  }

  /** Serious and critical findings of axe-core in what is shown. */
  async accessible(what: string): Promise<void> {
    // A script of the page would need the policy's leave.
    await this.page.evaluate(axe.source);
    const found = await this.page.evaluate(async () => {
      const { axe } = window as unknown as { axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string; target: unknown }[] }[] }> } };
      const { violations } = await axe.run();
      return violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.html.slice(0, 200)}`).join(" | ")}`);
    });
    expect(found, `accessibility of ${what}`).toEqual([]);
  }

  /** Begins to measure the gaps between frames. */
  async measureFrames(): Promise<void> {
    await this.page.evaluate(() => {
      const state = { last: performance.now(), gaps: [] as number[], worked: 0, on: true };
      (window as unknown as { frameState: typeof state }).frameState = state;
      const next = (): void => {
        const now = performance.now();
        state.gaps.push(now - state.last);
        if (state.gaps.length > 100_000) state.gaps.shift();
        state.last = now;
        if (state.on) requestAnimationFrame(next);
      };
      requestAnimationFrame(next);
      const observer = new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) state.worked = Math.max(state.worked, duration);
      });
      observer.observe({ type: "long-animation-frame" });
    });
  }

  /** The number of frames since then, the five largest gaps, and for how long the page worked at one frame, in milliseconds. */
  async frames(): Promise<{ count: number; longest: number[]; worked: number }> {
    return this.page.evaluate(() => {
      const { frameState } = window as unknown as { frameState: { gaps: number[]; worked: number; on: boolean } };
      frameState.on = false;
      const { gaps, worked } = frameState;
      const longest = [...gaps].sort((a, b) => b - a).slice(0, 5).map(Math.round);
      return { count: gaps.length, longest, worked: Math.round(worked) };
    });
  }

  /**
   * Says what the frames were, and fails if the page worked at one for more than 200 ms, or if a gap between two was
   * longer. Where other programs take the CPUs, two such gaps are theirs.
   */
  async expectSmooth(): Promise<void> {
    const { count, longest, worked } = await this.frames();
    const load = loadavg()[0] ?? 0;
    console.log(`load ${load.toFixed(1)}; ${count} frames, the page worked ${worked} ms at one, the longest gaps ${longest.join(", ")} ms`);
    expect(worked, "work at one frame, ms").toBeLessThanOrEqual(200);
    const spared = load > 2 * cpus().length ? 2 : 0;
    expect(longest[spared] ?? 0, "the longest gap between frames, ms").toBeLessThanOrEqual(200);
  }

  /** Bytes of the heap, after what is not needed was collected, and nodes of the document. */
  async memory(): Promise<{ heap: number; nodes: number }> {
    const session = await this.context.newCDPSession(this.page);
    await session.send("HeapProfiler.collectGarbage");
    await session.send("Performance.enable");
    const { metrics } = await session.send("Performance.getMetrics");
    await session.detach();
    const of = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? 0;
    return { heap: of("JSHeapUsedSize"), nodes: of("Nodes") };
  }

  /** The text of the emulator in the page, row by row. */
  async screen(): Promise<string> {
    return this.page.evaluate(() => [...document.querySelectorAll(".xterm-rows > div")].map((row) => row.textContent ?? "").join("\n"));
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}
