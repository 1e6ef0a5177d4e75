// What the API answers (docs/CLI-JSON.md), as far as the page reads it.

import type { Evidence, GapCause, PresenceStatus, StopProgress } from "./wire.gen.ts";

export interface Session {
  id: string;
  user: string;
  readOnly: boolean;
  createdAt: number;
  lastUsedAt: number;
  idleUntil: number;
  expiresAt: number;
  userAgent: string | null;
  address: string | null;
  current: boolean;
}

export interface About {
  version: string;
  commit: string | null;
  publicUrl: string | null;
  /** Makes a token for the first agent. */
  tokenCommand?: string;
  /** Adds the first agent. */
  agentCommand: string;
  retention: Record<string, unknown>;
  use: { bytes: number; limit: number };
}

/** A one-time link to sign in another browser. */
export interface SignInLink {
  url: string | null;
  code: string;
  expiresAt: number;
}

export interface Presence {
  state: PresenceStatus;
  since: string;
  because: string;
  evidence: Evidence;
  next_state: PresenceStatus | null;
  next_change_at: string | null;
  confidence: string;
}

export interface Finding {
  cause: string;
  confidence: string;
  evidence?: Evidence;
}

export interface Drop extends Finding {
  at: string;
  until: string | null;
}

export type Hops = Record<string, number>;

export interface BeatTrouble {
  hop: string;
  cause: string;
  confidence: string;
  sequence: number;
  since: string;
  text: string;
}

export interface WhyBeats {
  last_heard: string | null;
  last_recorded: string | null;
  ways?: string;
  ways_confidence?: string | null;
  i_hear_you?: string;
  you_hear_me?: string | null;
  trouble?: BeatTrouble | null;
  agent_heartbeats?: Hops;
  server_heartbeats?: Hops;
  missed?: { of: string; hop: string; sequence: number; after_s: number }[];
  round_trip_ms?: number | null;
}

export interface AgentWhy {
  presence: Presence;
  drops: Drop[];
  pattern: Finding | null;
  now: Finding | null;
  action: string | null;
  availability: { permille: number | null; there_ms: number; missing_ms: number; asleep_ms: number };
  beats: WhyBeats;
}

export interface UnwellAgent extends Finding {
  agent_id: string;
  name: string;
  state: PresenceStatus;
  since: string;
  because: string;
  drops: number;
}

export interface FleetWhy {
  from: string;
  at: string;
  total: number;
  well: number;
  not_listed: number;
  not_judged: number;
  agents: UnwellAgent[];
  incidents: (Finding & { from: string; until: string; agents: number })[];
}

export interface PresenceHistory {
  changes: { at: number; state: PresenceStatus; cause: string; because: string; evidence?: unknown }[];
  restarts: { from: number; to: number | null }[];
}

export interface Incident {
  kind: string;
  from: number;
  to: number | null;
  agents: number;
  back: number;
  missing: string[];
  curve: [number, number][];
  because: string;
}

export interface CommandSummary {
  command_id: string;
  agent_id: string;
  text: string;
  adopted?: boolean;
  status: string;
  cause: string | null;
  exit_code: number | null;
  signal: number | null;
  created_at: string;
  updated_at: string;
  ended_at: string | null;
}

export interface CommandDetail extends CommandSummary {
  history: { at: string; status: string; cause: string | null }[];
  keyboard?: {
    name: string;
    since: string;
    ended_at: string | null;
    ended_by?: string;
    because: string | null;
    bytes: number;
    unconfirmed: number;
  }[];
}

export interface CommandWhy {
  command_id: string;
  status: string;
  since: string;
  waits_for: string | null;
  summary: string;
  action: string | null;
  waits_on: { waits_for: string; text: string }[];
  steps: { at: string; status: string; because: string }[];
  last_output: string | null;
  gaps: string[];
}

export interface AuditReport {
  agent_heard: boolean;
  because: string | null;
  balanced: boolean;
  streams: {
    command_id: string;
    incarnation: number;
    stream: string;
    produced: number;
    delivered: number;
    spooled: number;
    gaps: number;
    unaccounted: number;
    open_gap: GapCause | null;
  }[];
}

export interface StopReport {
  stop_id: string;
  commands: number;
  agents: { agent_id: string; name: string; state: StopProgress }[];
}

export interface TokenView {
  token_id: string;
  user: string | null;
  kind: string;
  form: string;
  made_for: string | null;
  agent_id: string | null;
  state: string;
  holds: string[];
  made_at: string;
  shown_at: string | null;
  shown_from: string | null;
  expires_at: string | null;
  revoked_at: string | null;
  revoked_because: string | null;
  current?: boolean;
}
