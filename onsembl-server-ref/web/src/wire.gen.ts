// Types of the dashboard's wire (docs/PROTOCOL.md), by the names of the Rust types. Written by a test of onsembl-protocol,
// `wire_types`; not to be edited.

/** RFC 3339 in UTC. */
export type Rfc3339 = string;
/** Milliseconds since the Unix epoch. */
export type Millis = number;
/** A word of a set that later versions may extend. */
export type Word<T extends string> = T | (string & {});
/** A value of the evidence of a statement. */
export type EvidenceValue = string | number | boolean;
export type Evidence = Record<string, EvidenceValue>;

export interface Ack {
  messageId?: string;
  success?: boolean;
  connectionId?: string;
  agentId?: string;
  authenticated?: boolean;
  sequence?: number;
  received?: boolean;
  commandId?: string;
  subscriptions?: Subscriptions;
  extensions?: Welcome;
}

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

export type ActivityLane = Word<
  | "hook"
  | "stream"
  | "terminal"
>;

export type ActivityState = Word<
  | "working"
  | "waiting"
  | "asking"
  | "writing"
  | "quiet"
  | "none"
>;

export interface AgentActivity {
  commandId?: string;
  state: ActivityState;
  since?: Rfc3339;
  fact?: ActivityFact;
  lane?: ActivityLane;
  factAt?: Rfc3339;
  question?: Question;
  at?: Rfc3339;
}

export interface AgentConnected {
  agentId: string;
  agentName?: string;
  agentType: AgentType;
  version?: string;
  hostMachine?: string;
  capabilities?: string[];
  timestamp?: Millis | null;
}

export interface AgentControl {
  agentId?: string;
  action: ControlAction;
  reason?: string;
  gracefulShutdown?: boolean;
  timeout?: number;
  size?: TerminalSize;
}

export interface AgentDisconnect {
  agentId: string;
  reason?: string;
  timestamp?: Millis | null;
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

export interface AgentStopped {
  stopId: string;
  all?: boolean;
  by?: string;
  at?: Rfc3339;
  reason?: string;
  state: StopProgress;
}

export interface AgentSummary {
  agentId: string;
  name: string;
  type: AgentType;
  status: PresenceStatus;
  version?: string;
  capabilities?: string[];
  lastHeartbeat?: Rfc3339 | null;
  metrics?: HealthMetrics;
}

export type AgentType = Word<
  | "CLAUDE"
  | "GEMINI"
  | "CODEX"
  | "CUSTOM"
>;

export interface CommandCancel {
  commandId: string;
  agentId?: string;
  reason?: string;
  force?: boolean;
}

export interface CommandComplete {
  commandId: string;
  agentId?: string;
  status: string;
  exitCode: number | null;
  signal?: number;
  executionTime: number;
  duration: number;
  tokensUsed: number;
  error?: string;
  timestamp?: Millis;
  output?: OutputTotals;
}

export type CommandInput = Word<
  | "text"
  | "keys"
  | "secret"
>;

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

export interface CommandRequest {
  commandId?: string;
  agentId?: string;
  content: string;
  command: string;
  textBytes?: number;
  type: string;
  priority: number;
  args: string[];
  env?: Record<string, string>;
  workingDirectory?: string;
  executionConstraints: ExecutionConstraints;
  startWithinMs?: number;
  offline?: OfflinePolicy;
  input?: CommandInput;
  openLine?: OpenLine;
  echo?: SecretEcho;
  if?: TypeIf;
  userId?: string;
  traceparent?: string;
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

export interface CommandText {
  commandId: string;
  offset: number;
  bytes: string;
}

export type Confidence = Word<
  | "low"
  | "medium"
  | "high"
>;

export type ControlAction = Word<
  | "STOP"
  | "RESTART"
  | "PAUSE"
  | "RESUME"
  | "START"
  | "RESIZE"
>;

export interface DashboardConnected {
  agents: AgentSummary[];
  timestamp?: Millis | null;
  extensions?: DashboardExtensions;
}

export interface DashboardExtensions {
  features?: Feature[];
  serverInstance?: string;
}

export interface DashboardInit {
  userId?: string;
  subscriptions?: Subscriptions;
  extensions?: DashboardExtensions;
}

export interface EmergencyStop {
  reason?: string;
  triggeredBy?: string;
  timestamp?: Millis;
  agentsStopped?: number;
  commandsCancelled?: number;
  stopId?: string;
  affectedAgents?: string[];
}

export type ErrorCode = Word<
  | "UNAUTHORIZED"
  | "AUTH_TIMEOUT"
  | "FORBIDDEN"
  | "INVALID_MESSAGE"
  | "INVALID_MESSAGE_TYPE"
  | "UNKNOWN_MESSAGE_TYPE"
  | "INTERNAL_ERROR"
  | "AGENT_OFFLINE"
  | "AGENT_ONLINE"
  | "AGENT_STOPPED"
  | "AGENT_NOT_FOUND"
  | "AGENT_AMBIGUOUS"
  | "COMMAND_NOT_FOUND"
  | "QUEUE_FULL"
  | "KEYBOARD_HELD"
  | "READ_ONLY"
  | "NOT_SUPPORTED"
  | "STORAGE_UNAVAILABLE"
  | "SESSION_CONTESTED"
  | "CONNECTION_FAILED"
>;

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

export interface ExecutionConstraints {
  timeLimitMs?: number;
  maxRetries?: number;
}

export type Feature = Word<
  | "heartbeats"
  | "output-bytes"
  | "output-binary"
  | "output-spool"
  | "output-replay"
  | "command-reports"
  | "command-journal"
  | "stop-latch"
  | "open-ends"
  | "end-orders"
  | "command-adoption"
  | "black-box"
  | "presence-why"
  | "command-trace"
  | "typing-waits"
  | "line-origin"
  | "secret-input"
  | "long-text"
  | "typing"
  | "terminal-size"
  | "live-view"
  | "activity"
  | "ephemeral"
  | "terminal"
>;

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

export interface HealthMetrics {
  cpuUsage?: number | null;
  memoryUsage?: number | null;
  uptime?: number | null;
  commandsProcessed?: number | null;
  commandsExecuted?: number;
  activeCommands?: number;
  averageResponseTime?: number;
}

export interface KeyboardRelease {
  commandId: string;
  holder: string;
}

export interface KeyboardState {
  commandId: string;
  agentId?: string;
  messageId?: string;
  holder?: string;
  name?: string;
  since?: Millis;
  taken?: number;
  because?: string;
}

export interface KeyboardTake {
  commandId: string;
  name?: string;
  mode?: TakeMode;
}

export type OfflinePolicy = Word<
  | "queue"
  | "refuse"
>;

export type Opaque = unknown;

export type OpenLine = Word<
  | "wait"
  | "take"
>;

export interface OutputBehind {
  commandId: string;
  agentId?: string;
  incarnation: number;
  offset: number;
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

export interface OutputTaken {
  commandId: string;
  incarnation: number;
  offset: number;
}

export interface OutputTotals {
  incarnation?: number;
  stdoutBytes?: number;
  stderrBytes?: number;
  terminalBytes?: number;
}

export interface Ping {
  timestamp?: number | null;
  sequence?: number;
}

export interface Pong {
  timestamp?: number | null;
  latency?: number;
  sequence?: number;
}

export type PresenceStatus = Word<
  | "connecting"
  | "online"
  | "stale"
  | "timed-out"
  | "reconnecting"
  | "offline"
  | "error"
>;

export interface PresenceWhy {
  confidence: Confidence;
  evidence?: Record<string, EvidenceValue>;
  nextState?: PresenceStatus;
  nextChangeAt?: Rfc3339;
  slept?: SleptSpan;
}

export interface Question {
  kind: QuestionKind;
  title?: string;
  choices?: string[];
}

export type QuestionKind = Word<
  | "permission"
  | "question"
  | "attention"
>;

export interface ReleaseRequest {
  agentId?: string;
  all?: boolean;
}

export interface Replay {
  incarnation?: number;
  streamType?: StreamType;
  offset?: number;
}

export type SecretEcho = Word<
  | "refuse"
  | "allow"
>;

export interface SleptSpan {
  from: Rfc3339 | null;
  until: Rfc3339 | null;
}

export type StopProgress = Word<
  | "away"
  | "not-confirmed"
  | "told"
  | "received"
  | "acted"
  | "verified"
>;

export type StreamType = Word<
  | "STDOUT"
  | "STDERR"
  | "TERMINAL"
  | "SYSTEM"
>;

export interface Subscription {
  type: SubscriptionKind;
  id?: string;
  all?: boolean;
  replay?: Replay;
  view?: ViewMode;
}

export type SubscriptionKind = Word<
  | "agent"
  | "command"
  | "trace"
  | "terminal"
>;

export interface Subscriptions {
  agents?: string[] | boolean;
  commands?: string[] | boolean;
  terminals?: boolean;
  traces?: boolean;
}

export type TakeMode = Word<
  | "if-free"
  | "over"
>;

export interface TerminalInput {
  commandId: string;
  holder: string;
  sequence: number;
  bytes: string;
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

export interface TerminalStream {
  commandId: string;
  agentId?: string;
  streamType: StreamType;
  content: string;
  encoding?: string;
  timestamp: Millis | null;
  sequence?: number;
  offset?: number;
  incarnation?: number;
}

export interface TokenRefresh {
  accessToken: string;
  expiresIn?: number;
  refreshToken?: string;
}

export type TypeIf = Word<
  | "waiting"
>;

export type ViewMode = Word<
  | "whole"
  | "live"
>;

export interface Welcome {
  features?: Feature[];
  sessionId: string;
  epoch: number;
  serverInstance: string;
  timing: WireTiming;
  resumeWindowMs: number;
  outputWindowBytes: number;
  stopped?: string;
}

export interface WireTiming {
  heartbeatIntervalMs: number;
  staleAfterMs: number;
  timeoutAfterMs: number;
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
  TOKEN_REFRESH: TokenRefresh;
}

/** What a dashboard receives, by `type`. */
export interface ServerToDashboard {
  DASHBOARD_CONNECTED: DashboardConnected;
  AGENT_CONNECTED: AgentConnected;
  AGENT_STATUS: AgentStatus;
  AGENT_DISCONNECT: AgentDisconnect;
  COMMAND_STATUS: CommandStatus;
  COMMAND_COMPLETE: CommandComplete;
  TERMINAL_STREAM: TerminalStream;
  OUTPUT_GAP: OutputGap;
  KEYBOARD_STATE: KeyboardState;
  TERMINAL_SIZE: TerminalSized;
  OUTPUT_BEHIND: OutputBehind;
  TRACE_STREAM: Opaque;
  QUEUE_UPDATE: Opaque;
  EMERGENCY_STOP: EmergencyStop;
  ACK: Ack;
  ERROR: ErrorReply;
  PING: Ping;
  PONG: Pong;
  TOKEN_REFRESH: TokenRefresh;
}

export interface Envelope<T extends string, P> {
  type: T;
  id?: string;
  timestamp?: Millis;
  payload: P;
}

/** Why a link was closed, by code. */
export const CLOSE_CODES: Readonly<Record<number, string>> = {
  1000: "normal closure (1000)",
  1001: "the server is shutting down; come back (1001)",
  1002: "the framing rules were broken (1002)",
  1003: "only text messages are accepted here (1003)",
  1007: "a text message was not UTF-8 (1007)",
  1008: "too many messages that could not be decoded (1008)",
  1009: "a message was larger than the limit (1009)",
  1011: "internal fault; see the log of the side that closed (1011)",
  1013: "cannot take the session now; come back later (1013)",
  4100: "nothing was heard for the whole time-out (4100)",
  4101: "the same process opened a newer link (4101)",
  4102: "no hello came in time (4102)",
  4103: "the agent was stopped on its machine (4103)",
  4104: "the peer did not read what was sent to it (4104)",
  4105: "the token is not valid here, or not any more; bring another one (4105)",
  4106: "the hello was not answered in time (4106)",
  4107: "the agent was told to end by an order (control stop) (4107)",
  4108: "the agent was told to restart by an order (control restart) (4108)",
  4109: "another process of the same agent is in session, and answers (4109)",
  4200: "another process of the same agent took over; stay away (4200)",
  4201: "the token was revoked; stay away (4201)",
  4202: "the agent was deleted; stay away (4202)",
};

/** The ids of causes. */
export type Cause = Word<
  | "heartbeat-never-started"
  | "heartbeat-not-written"
  | "heartbeat-not-received"
  | "heartbeat-not-handled"
  | "heartbeat-not-recorded"
  | "heartbeat-not-answered"
  | "agent-slept"
  | "agent-stalled"
  | "agent-crashed"
  | "agent-killed"
  | "agent-restarted"
  | "agent-stopped"
  | "agent-ended-by-order"
  | "agent-upgraded"
  | "agent-deleted"
  | "host-rebooted"
  | "host-out-of-memory"
  | "host-out-of-descriptors"
  | "host-out-of-disk"
  | "clock-jump"
  | "network-changed"
  | "network-cut"
  | "network-one-way"
  | "network-one-way-or-cut"
  | "connection-cut"
  | "name-resolution"
  | "no-route"
  | "connection-refused"
  | "dial-unanswered"
  | "tls"
  | "proxy"
  | "redirect"
  | "middlebox-answer"
  | "middlebox-idle-timeout"
  | "middlebox-lifetime"
  | "server-restarted"
  | "server-stalled"
  | "server-busy"
  | "server-drained"
  | "server-moved"
  | "token-missing"
  | "token-expired"
  | "token-revoked"
  | "token-wrong-kind"
  | "token-refused"
  | "second-instance"
  | "instances-evict-each-other"
  | "slow-consumer"
  | "protocol-error"
  | "unknown"
>;

/** Causes by id: what happened, and what its reader can do about it. */
export const CAUSES: Readonly<Record<string, { readonly text: string; readonly action: string }>> = {
  "heartbeat-never-started": { text: "the agent is running but produced no heartbeat when one was due", action: "restart the agent; if it happens again, report it with `export`" },
  "heartbeat-not-written": { text: "heartbeats are queued on the agent and are not written to the connection", action: "check the load of the agent's machine, and its uplink; restart the agent" },
  "heartbeat-not-received": { text: "heartbeats were written by the agent but did not reach the server", action: "look for a proxy or firewall that delays or drops the agent's messages" },
  "heartbeat-not-handled": { text: "heartbeats reached the server but were not processed", action: "check the server's log and load; report it with `export`" },
  "heartbeat-not-recorded": { text: "heartbeats reached the server but were not recorded in its database", action: "check the server's disk and database; the evidence has its error" },
  "heartbeat-not-answered": { text: "heartbeats were recorded but not answered", action: "check the server's log and load; report it with `export`" },
  "agent-slept": { text: "the agent's machine was asleep", action: "nothing; keep the machine awake if the agent must stay connected" },
  "agent-stalled": { text: "the agent's process did not run for a while", action: "check what stopped or starved it: a debugger, an overloaded machine, a paused VM or container" },
  "agent-crashed": { text: "the agent's process crashed", action: "report the crash with the agent's log; run the agent under a service manager" },
  "agent-killed": { text: "the agent's process ended without notice: it was killed, or crashed before it could log anything", action: "look for what kills processes on that machine, and for a core dump; run the agent under a service manager" },
  "agent-restarted": { text: "the agent was restarted", action: "nothing" },
  "agent-stopped": { text: "the agent was stopped on its machine", action: "start it again when it is needed" },
  "agent-ended-by-order": { text: "a remote order ended the agent (`control stop` or `control restart`)", action: "start it again when it is needed" },
  "agent-upgraded": { text: "the agent was restarted with another version", action: "nothing" },
  "agent-deleted": { text: "the agent was deleted on the server", action: "to have it back, start it with a new token and another state directory (--state-dir)" },
  "host-rebooted": { text: "the agent's machine was restarted", action: "start the agent at boot, for example by a systemd unit" },
  "host-out-of-memory": { text: "the agent's machine ran out of memory, and the agent was killed", action: "give the machine more memory, or limit the memory of the agent's commands" },
  "host-out-of-descriptors": { text: "the agent ran out of file descriptors", action: "raise the limit of open files of the agent" },
  "host-out-of-disk": { text: "the disk of the agent's state directory is full", action: "free space on that disk" },
  "clock-jump": { text: "the clock of the agent's machine was set to another time", action: "run a time service on that machine" },
  "network-changed": { text: "the agent's machine moved to another network", action: "nothing" },
  "network-cut": { text: "the network between the agent and the server was interrupted in both directions", action: "see `why --all`: if agents on other networks dropped too, check the server's network, otherwise the agent's" },
  "network-one-way": { text: "traffic passed in one direction only; the evidence names the direction that was lost", action: "look for a firewall or proxy on the lost direction" },
  "network-one-way-or-cut": { text: "nothing was received; whether one direction or both were lost cannot be determined from this end", action: "run `onsembl-agent doctor` on the agent's machine, or wait for its return" },
  "connection-cut": { text: "something between the agent and the server closed the connection; neither end did", action: "nothing if it happened once; otherwise check the proxies, load balancers and firewalls in between, and their limits" },
  "name-resolution": { text: "the name of the server could not be resolved", action: "check the server's name and the resolver of the agent's machine" },
  "no-route": { text: "the agent's machine had no route to the server", action: "check network and VPN of the agent's machine" },
  "connection-refused": { text: "nothing accepted connections at the server's address", action: "check that the server is running, and that its address and port are right" },
  "dial-unanswered": { text: "connections to the server's address were established, but requests on them were not answered", action: "look for something that accepts connections there without forwarding them (a load balancer, VPN or firewall), or for a server that hangs" },
  "tls": { text: "the TLS handshake failed; the evidence names the fault", action: "renew or correct the certificate, or trust its issuer with `--tls-ca`" },
  "proxy": { text: "a proxy did not let the agent through", action: "check the proxy's address and credentials, and whether it allows the server" },
  "redirect": { text: "the server's address redirects to another one", action: "start the agent with the address in the evidence, if it is yours" },
  "middlebox-answer": { text: "something other than the server answered at its address", action: "check the server URL, and look for a login page or a proxy without WebSocket support" },
  "middlebox-idle-timeout": { text: "something between the agent and the server cuts connections that are idle for the time given in the evidence", action: "set `--heartbeat-interval` below that time, or raise it on the proxy" },
  "middlebox-lifetime": { text: "something between the agent and the server closes each connection at the age given in the evidence", action: "raise that limit on the proxy, or ignore it: the agent reconnects by itself" },
  "server-restarted": { text: "the server was restarted", action: "nothing; check the server's log if it was not intended" },
  "server-stalled": { text: "the server itself did not run for a while", action: "check the load of the server's machine" },
  "server-busy": { text: "the server could not accept the session and asked the agent to retry later", action: "check the server's load and database" },
  "server-drained": { text: "the server was drained before it was stopped", action: "nothing" },
  "server-moved": { text: "the agent was moved to another server", action: "nothing" },
  "token-missing": { text: "the agent had no token; no server was contacted", action: "check the token file of the agent" },
  "token-expired": { text: "the agent's token has expired", action: "give the agent a new token" },
  "token-revoked": { text: "the agent's token was revoked", action: "give the agent a new token, if it should come back" },
  "token-wrong-kind": { text: "the token is not for agents", action: "make a token with `onsembl-server token --agent`" },
  "token-refused": { text: "the server does not accept the agent's token", action: "give the agent a token of this server" },
  "second-instance": { text: "another process with the same identity took the agent's session", action: "stop one of the two, or give one a state directory of its own" },
  "instances-evict-each-other": { text: "two processes with the same identity keep taking the session from each other", action: "stop one of the two, or give one a state directory of its own" },
  "slow-consumer": { text: "the agent did not read its messages", action: "check the load of the agent's machine, and its downlink" },
  "protocol-error": { text: "one end sent a message that the other does not understand", action: "run the same version at both ends; look for a proxy that changes messages" },
  "unknown": { text: "the cause cannot be determined from the evidence", action: "run `onsembl-agent doctor` on the agent's machine" },
};
