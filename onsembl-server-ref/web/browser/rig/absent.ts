// Whether the scenarios can run here.

import { chromiumPath } from "./browser-path.ts";
import { missing } from "./programs.ts";

/** Why no scenario can run here; null if they can. */
export const absent = missing() ?? (chromiumPath() === null ? "chromium is not installed" : null);
