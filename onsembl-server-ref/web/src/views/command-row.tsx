// A command in a list.

import type { JSX } from "preact";
import type { CommandSummary } from "../api-types.ts";
import { age, exact, iso, parseTime, took } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { pathOf } from "../router.ts";
import { fleet } from "../store/app.ts";
import { isOver, isTerminal } from "../store/board.ts";
import { ticker } from "../store/ticker.ts";
import { endWords } from "../store/words.ts";
import { PhaseMark } from "../ui/icons.tsx";

/** What is stored, with what the link told since; the end of a command is never taken back. */
export function withLive(command: CommandSummary): CommandSummary {
  const live = fleet.board.commands.get(command.command_id);
  if (live === undefined || isOver(command.status)) return command;
  return {
    ...command,
    status: live.phase,
    cause: live.because === "" ? command.cause : live.because,
    exit_code: live.exitCode ?? command.exit_code,
    signal: live.signal ?? command.signal,
    ended_at: live.completedAt === null ? command.ended_at : iso(live.completedAt),
  };
}

export function CommandRow({ command, withAgent = true }: { command: CommandSummary; withAgent?: boolean }): JSX.Element {
  const { command_id: id, agent_id: agentId, status, text } = command;
  const now = fleet.serverNow(ticker.value);
  const asked = parseTime(command.created_at);
  const ended = parseTime(command.ended_at);
  const name = fleet.board.agents.get(agentId)?.name ?? agentId;
  const end = endWords({ phase: status, exitCode: command.exit_code, signal: command.signal });
  const isScreen = isTerminal(id);
  const title = isScreen ? "terminal" : command.adopted === true ? "(adopted: its text is unknown)" : shown(text, 300);
  return (
    <li class={`command ${status}`}>
      <PhaseMark phase={status} />
      <div class="what">
        <a href={pathOf(isScreen ? { view: "terminal", id, log: false } : { view: "command", id })}>
          <code>{title === "" ? "(empty)" : title}</code>
        </a>
        <small class="quiet">
          <b class="word">{shown(status)}</b>
          {end !== null && `, ${end}`}
          {command.cause !== null && command.cause !== "" && command.cause !== end && `: ${shown(command.cause)}`}
        </small>
      </div>
      <small class="where quiet">
        {withAgent && <bdi>{shown(name, 64)}</bdi>}
        <span>
          {asked !== null && (
            <time dateTime={iso(asked)} title={`asked for ${exact(asked)}`}>
              {age(now - asked)} ago
            </time>
          )}
          {asked !== null && ended !== null && `, took ${took(ended - asked)}`}
        </span>
      </small>
    </li>
  );
}
