// Where Chromium is.

import { existsSync } from "node:fs";

const PATHS = [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser"];

/** The program; null if there is none. */
export function chromiumPath(): string | null {
  return PATHS.find((path) => path !== undefined && existsSync(path)) ?? null;
}
