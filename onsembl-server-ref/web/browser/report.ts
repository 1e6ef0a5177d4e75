// Says plainly before the scenarios why none of them runs, if that is so.

import { absent } from "./rig/absent.ts";

export default function setup(): void {
  if (absent !== null) console.log(`skipped: ${absent}`);
}
