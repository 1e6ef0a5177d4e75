// What the scenarios share: a place, a browser, and that everything ends and nothing was against the policy.

import type { Browser, BrowserContextOptions } from "playwright-core";
import { test } from "vitest";
import { absent } from "./absent.ts";
import { launch, Watched } from "./browser.ts";
import { Site } from "./programs.ts";

export interface Stage {
  readonly site: Site;
  readonly browser: Browser;
  /** Opens a page that nobody is signed in to. */
  open(options?: BrowserContextOptions): Promise<Watched>;
  /** Opens a page and signs in by a link. */
  signedIn(options?: BrowserContextOptions & { user?: string; readOnly?: boolean }): Promise<Watched>;
}

/** One scenario with a server and a browser of its own. All of its pages must be clean at its end. */
export function scenario(name: string, play: (stage: Stage) => Promise<void>, within?: number): void {
  test.skipIf(absent !== null)(
    name,
    async () => {
      const site = new Site();
      const pages: Watched[] = [];
      let browser: Browser | null = null;
      try {
        await site.serve();
        browser = await launch();
        const open = async (options?: BrowserContextOptions): Promise<Watched> => {
          if (browser === null) throw new Error("no browser");
          const page = await Watched.open(browser, options);
          pages.push(page);
          return page;
        };
        await play({
          site,
          browser,
          open,
          async signedIn({ user = "ann", readOnly = false, ...options } = {}) {
            const page = await open(options);
            await page.signIn(site, user, readOnly);
            return page;
          },
        });
        for (const page of pages) page.expectClean();
      } catch (error) {
        const last = pages.at(-1);
        const shot = process.env["ONSEMBL_SHOTS"];
        if (shot !== undefined && last !== undefined) {
          await last.page.screenshot({ path: `${shot}/${name.replace(/\W+/g, "-").slice(0, 60)}.png` }).catch(() => {});
        }
        throw error;
      } finally {
        await browser?.close();
        await site.close();
      }
    },
    within,
  );
}

/** A program that asks for lines and says what it got, in a terminal of 80 by 24. */
export const SHELL = {
  arguments: ["--runner", "terminal", "--size", "80x24"],
  program: ["env", "PS1=ready> ", "bash", "--norc", "--noprofile", "-i"],
} as const;
