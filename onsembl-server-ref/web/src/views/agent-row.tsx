// One agent in the list: its state word, since when, why and what comes next; what its program does; its heartbeats.

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { age, exact, plural } from "../lib/time.ts";
import { shown } from "../lib/shown.ts";
import { pathOf } from "../router.ts";
import { fleet } from "../store/app.ts";
import { KIND_WORDS, faultOf, kindOf } from "../store/attention.ts";
import { beatsOf, unwant, want } from "../store/beats.ts";
import { density } from "../store/prefs.ts";
import { ticker } from "../store/ticker.ts";
import { activityWords, becauseWords, factWords, nextWords, stopWords } from "../store/words.ts";
import { KindMark } from "../ui/icons.tsx";
import { Strip } from "../ui/strip.tsx";

export function AgentRow({
  id,
  row,
  isActive,
  onFocus,
}: {
  id: string;
  row: number;
  isActive: boolean;
  onFocus: () => void;
}): JSX.Element | null {
  const agent = fleet.agent(id).value;
  const tick = ticker.value;
  const now = fleet.serverNow(tick);

  useEffect(() => {
    want(id, tick);
  }, [id, tick]);
  useEffect(() => () => unwant(id), [id]);

  if (agent === null) {
    return <tr class="agent" role="row" aria-rowindex={row + 2}><td role="cell" /></tr>;
  }
  const beside = fleet.beside(id);
  const kind = kindOf(agent, beside);
  const fault = faultOf(agent, beside.fault);
  const because = becauseWords(agent);
  // A compact row has no second line for what else keeps it from working.
  const isCompact = density.value === "compact";
  const next = nextWords(agent, now);
  const detail = [agent.type.toLowerCase(), agent.host, agent.version].filter((part) => part !== "").map((part) => shown(part, 64));
  const question = agent.activity?.state === "asking";
  const activity = agent.activity === null ? null : activityWords(agent.activity, now);

  return (
    <tr class={`agent ${kind}`} role="row" aria-rowindex={row + 2}>
      <th role="rowheader" scope="row">
        <span class="kind" title={KIND_WORDS[kind]}>
          <KindMark kind={kind} />
          <span class="unseen">{KIND_WORDS[kind]}: </span>
        </span>
        <span class="who">
          <a href={pathOf({ view: "agent", id })} tabIndex={isActive ? 0 : -1} onFocus={onFocus}>
            <bdi>{shown(agent.name, 128)}</bdi>
          </a>
          <small>{detail.join(" · ")}</small>
        </span>
      </th>
      <td role="cell" class="state">
        <span class="line">
          <b class={`word ${agent.status}`}>{shown(agent.status)}</b>
          {agent.since !== null && (
            <time dateTime={new Date(agent.since).toISOString()} title={`since ${exact(agent.since)}`}>
              {age(now - agent.since)}
            </time>
          )}
          <bdi class="because" title={because}>
            {isCompact ? `${fault === null ? "" : `${shown(fault)}; `}${because}` : shown(agent.because)}
          </bdi>
        </span>
        <small>
          {fault !== null && <span class="fault">{shown(fault)} · </span>}
          {agent.stopped !== null && <span class="held">emergency stop: {stopWords(agent.stopped.state)} · </span>}
          {agent.paused && <span class="held">paused: starts nothing until it is resumed · </span>}
          {agent.heard !== null && <span>heard {age(now - agent.heard)} ago</span>}
          {agent.heard !== null && next !== null && " · "}
          {next !== null && <span>{next}</span>}
          {agent.heard === null && next === null && <span>stays so until it connects</span>}
        </small>
      </td>
      <td role="cell" class="activity">
        <span class={question ? "line asking" : "line"} title={activity ?? undefined}>
          {activity ?? <span class="quiet none">–</span>}
        </span>
        <small>
          {beside.running > 0 ? `${plural(beside.running, "command")} open` : agent.activity === null ? "" : (factWords(agent.activity, now) ?? "")}
        </small>
      </td>
      <td role="cell" class="beats">
        <Strip beats={beatsOf(id).value} />
      </td>
    </tr>
  );
}
