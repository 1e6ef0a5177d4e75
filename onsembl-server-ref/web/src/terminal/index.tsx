// The terminal view and the log view: a chunk of its own, loaded when a terminal is opened.

import type { OutputFeed } from "../link/output.ts";
import { LogView } from "./log/view.tsx";
import "./terminal.css";
import { LiveTerminal } from "./view.tsx";

export interface TerminalProps {
  /** The terminal, which is a command without a sender, or any command. */
  commandId: string;
  /** Its agent, as soon as it is known. */
  agentId: string | null;
  /** What the agent is called. */
  agentName: string | null;
  /** Show the stored text with search and permalinks instead of the live screen. */
  log: boolean;
  /** Of a permalink into the log: the fragment without `#`. */
  hash: string;
  /** The session may not type. */
  readOnly: boolean;
  /** What others are told of who types. */
  typistName: string;
  /** The link for output; opened while something is watched. */
  feed: OutputFeed;
}

export default function Terminal(props: TerminalProps) {
  // A command that is no terminal has no screen of its own: its output is text.
  const isLive = !props.log && props.commandId.startsWith("terminal-");
  return isLive ? <LiveTerminal key={props.commandId} {...props} /> : <LogView key={props.commandId} {...props} />;
}
