// No agents yet: the exact command that adds the first one. The page becomes its row by itself.

import type { JSX } from "preact";
import { get } from "../api.ts";
import type { About } from "../api-types.ts";
import { CommandLine, Problem } from "../ui/parts.tsx";
import { useQuery } from "../ui/query.ts";

export function EmptyFleet(): JSX.Element {
  const about = useQuery<About>("/api/page/about", (signal) => get<About>("/api/page/about", signal));
  return (
    <div class="page empty">
      <svg class="waiting" viewBox="0 0 240 60" aria-hidden="true">
        <path class="base" d="M0 40h240" />
        <path class="beat" d="M0 40h70l8-22 12 34 8-12h142" />
      </svg>
      <h1>No agents yet</h1>
      <p>Run this on the machine where the first one is to work. This page becomes its row as soon as it arrives.</p>
      {about.data !== null ? (
        <>
          <CommandLine text={about.data.agentCommand} label="Copy the command that adds an agent" />
          <p class="quiet">Its token is made on the machine of the server:</p>
          <CommandLine text={about.data.tokenCommand ?? "onsembl-server token --agent"} label="Copy the command that makes a token" />
        </>
      ) : about.error !== null ? (
        <Problem retry={about.reload}>{about.error}</Problem>
      ) : (
        <p class="quiet" role="status">Asking the server for the command…</p>
      )}
    </div>
  );
}
