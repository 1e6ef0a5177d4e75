// A statement of the server about an agent.

import type { JSX } from "preact";
import { shown } from "../lib/shown.ts";
import { evidenceWords } from "../store/words.ts";
import { CAUSES } from "../wire.gen.ts";

/** A statement of the server: what happened, how sure that is, and on what evidence. */
export function Finding({ of }: { of: { cause: string; confidence: string; evidence?: Readonly<Record<string, unknown>> } }): JSX.Element {
  const evidence = evidenceWords(of.evidence ?? {});
  return (
    <span class="finding">
      <b>{shown(of.cause)}</b> (confidence {of.confidence}): {CAUSES[of.cause]?.text ?? "a cause that this page does not know"}
      {evidence !== "" && <span class="quiet">; {evidence}</span>}
    </span>
  );
}
