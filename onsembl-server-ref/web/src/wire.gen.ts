// Types of the dashboard's wire (docs/PROTOCOL.md, section 14), by the names of the Rust types in
// onsembl-protocol/src/wire/payload. Not to be edited by hand once the test `wire_types` writes it.
/* eslint-disable */

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

export type PresenceStatus = Word<"connecting" | "online" | "stale" | "reconnecting" | "offline">;
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
