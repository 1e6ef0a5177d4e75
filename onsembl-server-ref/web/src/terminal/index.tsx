// The terminal view and the log view: a chunk of its own, loaded when a terminal is opened.

import type { OutputFeed } from "../link/output.ts";

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
  return <p>{props.commandId}</p>;
}
