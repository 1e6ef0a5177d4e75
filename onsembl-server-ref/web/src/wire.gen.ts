// Types of the dashboard's wire (docs/PROTOCOL.md, section 14), by the names of the Rust types in
// onsembl-protocol/src/wire/payload. Not to be edited by hand once the test `wire_types` writes it.


/** RFC 3339 in UTC. */
export type Rfc3339 = string;
/** Milliseconds since the Unix epoch. */
export type Millis = number;
/** A word of a set that later versions may extend. */
export type Word<T extends string> = T | (string & {});

export type Feature = Word<
  | "output-bytes"
  | "output-binary"
  | "output-spool"
  | "output-replay"
  | "stop-latch"
  | "presence-why"
  | "secret-input"
  | "typing"
  | "terminal-size"
  | "live-view"
  | "activity"
  | "long-text"
>;

export type PresenceStatus = Word<
  "connecting" | "online" | "stale" | "timed-out" | "reconnecting" | "offline" | "error"
>;
export type Confidence = Word<"low" | "medium" | "high">;
export type EvidenceValue = string | number | boolean;
export type Evidence = Record<string, EvidenceValue>;

export type CommandPhase = Word<
  | "pending"
  | "queued"
  | "delivered"
  | "running"
  | "cancelling"
  | "completed"
  | "failed"
  | "cancelled"
  | "lost"
  | "unknown"
>;

export type ActivityState = Word<"working" | "waiting" | "asking" | "writing" | "quiet" | "none">;
export type ActivityLane = Word<"hook" | "stream" | "terminal">;
export type ActivityFact = Word<
  | "started"
  | "session-start"
  | "session-end"
  | "prompt"
  | "tool"
  | "notification"
  | "permission"
  | "stop"
  | "bell"
  | "terminal-notification"
  | "prompt-start"
  | "command-start"
  | "command-end"
  | "input"
  | "output"
  | "reads"
>;
export type QuestionKind = Word<"permission" | "question" | "attention">;
export type StopProgress = Word<
  "away" | "not-confirmed" | "told" | "received" | "acted" | "verified"
>;
export type ControlAction = Word<"STOP" | "RESTART" | "PAUSE" | "RESUME" | "START" | "RESIZE">;
export type StreamType = Word<"STDOUT" | "STDERR" | "TERMINAL" | "SYSTEM">;
export type GapCause = Word<
  | "spool-full"
  | "spool-failed"
  | "agent-died"
  | "stopped"
  | "never-came"
  | "not-storable"
  | "retention"
  | "background"
>;
export type SubscriptionKind = "agent" | "command" | "trace" | "terminal";
export type ViewMode = "whole" | "live";
export type TakeMode = "if-free" | "over";
export type OfflinePolicy = "queue" | "refuse";
export type CommandInput = "text" | "keys" | "secret";
export type OpenLine = "wait" | "take";
export type SecretEcho = "refuse" | "allow";
export type TypeIf = "waiting";
export type ErrorCode = Word<
  | "UNAUTHORIZED"
  | "AUTH_TIMEOUT"
  | "FORBIDDEN"
  | "READ_ONLY"
  | "INVALID_MESSAGE"
  | "INTERNAL_ERROR"
  | "AGENT_OFFLINE"
  | "AGENT_STOPPED"
  | "AGENT_NOT_FOUND"
  | "AGENT_AMBIGUOUS"
  | "COMMAND_NOT_FOUND"
  | "QUEUE_FULL"
  | "KEYBOARD_HELD"
  | "NOT_SUPPORTED"
  | "STORAGE_UNAVAILABLE"
  | "SESSION_CONTESTED"
>;

export interface DashboardExtensions {
  features: Feature[];
  serverInstance?: string;
}

export interface Subscriptions {
  agents?: string[] | boolean;
  commands?: string[] | boolean;
  terminals: boolean;
  traces: boolean;
}

export interface DashboardInit {
  userId?: string;
  subscriptions: Subscriptions;
  extensions?: DashboardExtensions;
}

export interface Replay {
  incarnation?: number;
  streamType?: StreamType;
  offset: number;
}

export interface Subscription {
  type: SubscriptionKind;
  id?: string;
  all?: boolean;
  replay?: Replay;
  view?: ViewMode;
}

export interface HealthMetrics {
  cpuUsage?: number | null;
  memoryUsage?: number | null;
  uptime?: number | null;
  commandsProcessed?: number | null;
  commandsExecuted?: number | null;
  activeCommands?: number | null;
  averageResponseTime?: number | null;
}

export interface AgentSummary {
  agentId: string;
  name: string;
  type: string;
  status: PresenceStatus;
  version?: string;
  capabilities?: string[];
  lastHeartbeat?: Rfc3339 | null;
  metrics?: HealthMetrics;
}

export interface DashboardConnected {
  agents: AgentSummary[];
  timestamp?: Millis;
  extensions?: DashboardExtensions;
}

export interface AgentConnected {
  agentId: string;
  agentName?: string;
  agentType: string;
  version?: string;
  hostMachine?: string;
  capabilities?: string[];
  timestamp?: Millis;
}

export interface AgentStopped {
  stopId: string;
  all?: boolean;
  by?: string;
  at?: Rfc3339;
  reason?: string;
  state: StopProgress;
}

export interface SleptSpan {
  from: Rfc3339 | null;
  until: Rfc3339 | null;
}

export interface PresenceWhy {
  confidence: Confidence;
  evidence?: Evidence;
  nextState?: PresenceStatus;
  nextChangeAt?: Rfc3339;
  slept?: SleptSpan;
}

export interface Question {
  kind: QuestionKind;
  title: string;
  choices?: string[];
}

export interface AgentActivity {
  commandId?: string;
  state: ActivityState;
  since?: Rfc3339;
  fact?: ActivityFact;
  lane?: ActivityLane;
  factAt?: Rfc3339;
  question?: Question;
}

export interface AgentStatus {
  agentId: string;
  status: PresenceStatus;
  activityState?: string;
  queuedCommands?: number;
  lastPing?: Rfc3339 | null;
  since?: Rfc3339;
  because?: string;
  presenceVersion?: number;
  healthMetrics?: HealthMetrics;
  stopped?: AgentStopped;
  paused?: boolean;
  explanation?: PresenceWhy;
  activity?: AgentActivity;
}

export interface AgentDisconnect {
  agentId: string;
  reason?: string;
  timestamp?: Millis;
}

export interface CommandStatus {
  commandId: string;
  agentId?: string;
  status: CommandPhase;
  because?: string;
  error?: string;
  exitCode?: number;
  signal?: number;
  startedAt?: Millis;
  completedAt?: Millis;
}

/** As text; with `output-binary` the same comes as a binary message (P-461). */
export interface TerminalStream {
  commandId: string;
  agentId?: string;
  streamType?: StreamType;
  content: string;
  encoding?: string;
  timestamp: Millis | null;
  sequence?: number;
  offset?: number;
  incarnation?: number;
}

export interface OutputGap {
  commandId: string;
  agentId?: string;
  incarnation: number;
  streamType: StreamType;
  sequence: number;
  offset: number;
  length?: number;
  because: GapCause;
  timestamp?: Millis;
}

export interface TerminalSize {
  columns: number;
  rows: number;
}

export interface TerminalSized {
  commandId: string;
  agentId?: string;
  incarnation: number;
  offset: number;
  size: TerminalSize;
}

export interface OutputTaken {
  commandId: string;
  incarnation: number;
  offset: number;
}

export interface OutputBehind extends OutputTaken {
  agentId?: string;
}

export interface KeyboardTake {
  commandId: string;
  name?: string;
  mode?: TakeMode;
}

export interface KeyboardRelease {
  commandId: string;
  holder: number;
}

export interface KeyboardState {
  commandId: string;
  agentId?: string;
  messageId?: string;
  holder?: number;
  name?: string;
  since?: Millis;
  taken: number;
  because?: string;
}

export interface TerminalInput {
  commandId: string;
  holder: number;
  sequence: number;
  /** Base64. */
  bytes: string;
}

export interface CommandRequest {
  commandId: string;
  agentId: string;
  content: string;
  command: string;
  textBytes?: number;
  type: "NATURAL";
  priority: number;
  args: string[];
  executionConstraints: { timeLimitMs?: number; maxRetries?: number };
  startWithinMs?: number;
  offline?: OfflinePolicy;
  input?: CommandInput;
  openLine?: OpenLine;
  echo?: SecretEcho;
  if?: TypeIf;
}

export interface CommandText {
  commandId: string;
  offset: number;
  /** Base64. */
  bytes: string;
}

export interface CommandCancel {
  commandId: string;
  agentId?: string;
  reason?: string;
  force: boolean;
}

export interface AgentControl {
  agentId: string;
  action: ControlAction;
  reason?: string;
  size?: TerminalSize;
}

export interface EmergencyStop {
  reason?: string;
  triggeredBy?: string;
  timestamp?: Millis;
  stopId?: string;
  affectedAgents?: string[];
}

export interface ReleaseRequest {
  agentId?: string;
  all?: boolean;
}

export interface Ack {
  messageId?: string;
  success: boolean;
  agentId?: string;
  commandId?: string;
  subscriptions?: Subscriptions;
}

export interface ErrorContext {
  commandId?: string;
  agentId?: string;
}

export interface ErrorReply {
  code: ErrorCode;
  message?: string;
  context?: ErrorContext;
  details?: unknown;
  originalMessageId?: string;
  recoverable?: boolean;
}

export interface Ping {
  timestamp?: number | null;
  sequence?: number;
}

export interface Pong extends Ping {
  latency?: number;
}

/** What a dashboard sends, by `type`. */
export interface DashboardToServer {
  DASHBOARD_INIT: DashboardInit;
  DASHBOARD_SUBSCRIBE: Subscription;
  DASHBOARD_UNSUBSCRIBE: Subscription;
  COMMAND_REQUEST: CommandRequest;
  COMMAND_TEXT: CommandText;
  COMMAND_CANCEL: CommandCancel;
  AGENT_CONTROL: AgentControl;
  EMERGENCY_STOP: EmergencyStop;
  STOP_RELEASE: ReleaseRequest;
  KEYBOARD_TAKE: KeyboardTake;
  KEYBOARD_RELEASE: KeyboardRelease;
  TERMINAL_INPUT: TerminalInput;
  OUTPUT_TAKEN: OutputTaken;
  PING: Ping;
  PONG: Pong;
}

/** What a server sends to a dashboard, by `type`. */
export interface ServerToDashboard {
  DASHBOARD_CONNECTED: DashboardConnected;
  AGENT_CONNECTED: AgentConnected;
  AGENT_STATUS: AgentStatus;
  AGENT_DISCONNECT: AgentDisconnect;
  COMMAND_STATUS: CommandStatus;
  TERMINAL_STREAM: TerminalStream;
  OUTPUT_GAP: OutputGap;
  KEYBOARD_STATE: KeyboardState;
  TERMINAL_SIZE: TerminalSized;
  OUTPUT_BEHIND: OutputBehind;
  EMERGENCY_STOP: EmergencyStop;
  ACK: Ack;
  ERROR: ErrorReply;
  PING: Ping;
  PONG: Pong;
}

export interface Envelope<T extends string, P> {
  type: T;
  id?: string;
  timestamp?: Millis;
  payload: P;
}

/** Causes by id: what happened, and what its reader can do about it. */
export const CAUSES: Readonly<Record<string, { readonly text: string; readonly action: string }>> = {
  "heartbeat-never-started": {
    text: "the agent is running but made no heartbeat when one was due",
    action: "restart the agent; if it happens again, report it with `export`",
  },
  "heartbeat-not-written": {
    text: "heartbeats were made and are queued on the agent, not written to the connection",
    action: "check the load of the agent's machine, and its uplink; restart the agent",
  },
  "heartbeat-not-received": {
    text: "heartbeats were written by the agent and did not reach the server",
    action: "look for a proxy or firewall that delays or drops the agent's messages",
  },
  "heartbeat-not-handled": {
    text: "heartbeats reached the server and were not handled",
    action: "check the server's log and load; report it with `export`",
  },
  "heartbeat-not-recorded": {
    text: "heartbeats reached the server and were not recorded in its database",
    action: "check the server's disk and database; the evidence has its error",
  },
  "heartbeat-not-answered": {
    text: "heartbeats were recorded and not answered",
    action: "check the server's log and load; report it with `export`",
  },
  "agent-slept": {
    text: "the agent's machine slept",
    action: "nothing; keep the machine awake if the agent must stay connected",
  },
  "agent-stalled": {
    text: "the agent's process did not run for a while",
    action: "check what stopped or starved it: a debugger, an overloaded machine, a paused VM or container",
  },
  "agent-crashed": {
    text: "the agent's process crashed",
    action: "report the crash with the agent's log; run the agent under a service manager",
  },
  "agent-killed": {
    text: "the agent's process ended without notice: it was killed, or crashed before it could log anything",
    action: "look for what kills processes on that machine, and for a core dump; run the agent under a service manager",
  },
  "agent-restarted": {
    text: "the agent was restarted",
    action: "nothing",
  },
  "agent-stopped": {
    text: "the agent was stopped on its machine",
    action: "start it again when it is needed",
  },
  "agent-ended-by-order": {
    text: "a remote order ended the agent (`control stop` or `control restart`)",
    action: "start it again when it is needed",
  },
  "agent-upgraded": {
    text: "the agent was restarted with another version",
    action: "nothing",
  },
  "agent-deleted": {
    text: "the agent was deleted on the server",
    action: "to have it back, start it with a new token and a new state directory",
  },
  "host-rebooted": {
    text: "the agent's machine was restarted",
    action: "start the agent at boot, for example by a systemd unit",
  },
  "host-out-of-memory": {
    text: "the agent's machine ran out of memory, and the agent was killed",
    action: "give the machine more memory, or limit the memory of the agent's commands",
  },
  "host-out-of-descriptors": {
    text: "the agent ran out of file descriptors",
    action: "raise the limit of open files of the agent",
  },
  "host-out-of-disk": {
    text: "the disk of the agent's state directory is full",
    action: "free space on that disk",
  },
  "clock-jump": {
    text: "the clock of the agent's machine was set to another time",
    action: "run a time service on that machine",
  },
  "network-changed": {
    text: "the agent's machine moved to another network",
    action: "nothing",
  },
  "network-cut": {
    text: "the network between agent and server was interrupted in both directions",
    action: "see `why --all`: if agents of other networks dropped too, check the server's network, otherwise the agent's",
  },
  "network-one-way": {
    text: "the network carried one direction only; the evidence names the one that was lost",
    action: "look for a firewall or proxy on the lost direction",
  },
  "network-one-way-or-cut": {
    text: "nothing was received; whether one direction or both were lost cannot be determined from this end",
    action: "run `onsembl-agent doctor` on the agent's machine, or wait for its return",
  },
  "connection-cut": {
    text: "something between agent and server ended the connection; neither of the two did",
    action: "nothing if it happened once; else check the proxies, load balancers and firewalls in between, and their limits",
  },
  "name-resolution": {
    text: "the name of the server could not be resolved",
    action: "check the server's name and the resolver of the agent's machine",
  },
  "no-route": {
    text: "the agent's machine had no route to the server",
    action: "check network and VPN of the agent's machine",
  },
  "connection-refused": {
    text: "nothing accepted connections at the server's address",
    action: "check that the server runs and that address and port are right",
  },
  "dial-unanswered": {
    text: "connections to the server's address were made, and requests over them were not answered",
    action: "look for what accepts connections there and does not forward them (load balancer, VPN, firewall), and whether the server hangs",
  },
  "tls": {
    text: "the TLS handshake failed; the evidence has the fault",
    action: "renew or correct the certificate, or trust its issuer with `--ca`",
  },
  "proxy": {
    text: "a proxy did not let the agent through",
    action: "check the proxy's address and credentials, and whether it allows the server",
  },
  "redirect": {
    text: "the server's address redirects to another one",
    action: "start the agent with the address in the evidence, if it is yours",
  },
  "middlebox-answer": {
    text: "something other than the server answered at its address",
    action: "check the server URL, and for a login page or a proxy without WebSocket",
  },
  "middlebox-idle-timeout": {
    text: "something between agent and server cuts connections that are idle for the time in the evidence",
    action: "set `--heartbeat-interval` below that time, or raise it on the proxy",
  },
  "middlebox-lifetime": {
    text: "something between agent and server ends each connection at the age in the evidence",
    action: "raise that limit on the proxy, or ignore it: the agent reconnects by itself",
  },
  "server-restarted": {
    text: "the server was restarted",
    action: "nothing; check the server's log if it was not intended",
  },
  "server-stalled": {
    text: "the server itself did not run for a while",
    action: "check the load of the server's machine",
  },
  "server-busy": {
    text: "the server could not accept the session and asked the agent to retry later",
    action: "check the server's load and database",
  },
  "server-drained": {
    text: "the server was drained before it was stopped",
    action: "nothing",
  },
  "server-moved": {
    text: "the agent was moved to another server",
    action: "nothing",
  },
  "token-missing": {
    text: "the agent had no token; no server was contacted",
    action: "check the token file of the agent",
  },
  "token-expired": {
    text: "the agent's token has expired",
    action: "give the agent a new token",
  },
  "token-revoked": {
    text: "the agent's token was revoked",
    action: "give the agent a new token, if it may come back",
  },
  "token-wrong-kind": {
    text: "the token is not one for agents",
    action: "make a token with `onsembl-server token --agent`",
  },
  "token-refused": {
    text: "the server does not accept the agent's token",
    action: "give the agent a token of this server",
  },
  "second-instance": {
    text: "another process with the same identity took the agent's session",
    action: "stop one of the two, or give one a state directory of its own",
  },
  "instances-evict-each-other": {
    text: "two processes with one identity take the session from each other",
    action: "stop one of the two, or give one a state directory of its own",
  },
  "slow-consumer": {
    text: "the agent did not read its messages",
    action: "check the load of the agent's machine, and its downlink",
  },
  "protocol-error": {
    text: "one end sent a message that the other does not understand",
    action: "bring both ends to the same version; look for a proxy that changes messages",
  },
  "unknown": {
    text: "the evidence does not determine the cause",
    action: "run `onsembl-agent doctor` on the agent's machine",
  },
};
