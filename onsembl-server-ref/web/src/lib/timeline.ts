// An agent's presence over time as bands: neighbours that are alike are one, and a crowd is one band too, so that their
// number is bounded. Pure.

export interface Change {
  /** ms */
  readonly at: number;
  readonly state: string;
  readonly because: string;
}

export interface Band {
  readonly from: number;
  readonly to: number;
  /** The state; of several the one that needs most attention. */
  readonly state: string;
  readonly because: string;
  /** Changes in it: 1, or more of a crowd. */
  readonly changes: number;
}

const WORST: readonly string[] = ["error", "offline", "timed-out", "reconnecting", "connecting", "stale", "asleep", "online"];

function worse(a: string, b: string): boolean {
  const rank = (state: string): number => {
    const at = WORST.indexOf(state);
    return at < 0 ? 0 : at;
  };
  return rank(a) < rank(b);
}

/** The bands between two times, at most about `most`. What was before the first change is not known, and has none. */
export function bands(changes: readonly Change[], from: number, to: number, most: number): Band[] {
  if (to <= from) return [];
  const sorted = [...changes].sort((a, b) => a.at - b.at);
  const whole: Band[] = [];
  sorted.forEach((change, n) => {
    const end = Math.min(sorted[n + 1]?.at ?? to, to);
    const start = Math.max(change.at, from);
    if (end <= start) return;
    const last = whole.at(-1);
    if (last !== undefined && last.state === change.state && last.to === start) {
      whole[whole.length - 1] = { ...last, to: end };
    } else {
      whole.push({ from: start, to: end, state: change.state, because: change.because, changes: 1 });
    }
  });
  return whole.length <= most ? whole : gathered(whole, (to - from) / most);
}

/** Bands that are shorter than `least` join their neighbours of that kind. */
function gathered(of: readonly Band[], least: number): Band[] {
  const found: Band[] = [];
  for (const band of of) {
    const last = found.at(-1);
    const isShort = band.to - band.from < least;
    if (last !== undefined && isShort && last.to === band.from && (last.changes > 1 || last.to - last.from < least)) {
      const isWorse = worse(band.state, last.state);
      found[found.length - 1] = {
        from: last.from,
        to: band.to,
        state: isWorse ? band.state : last.state,
        because: isWorse ? band.because : last.because,
        changes: last.changes + band.changes,
      };
    } else {
      found.push(band);
    }
  }
  return found;
}

/** Where a time is between two others, in percent, within them. */
export function percent(at: number, from: number, to: number): number {
  if (to <= from) return 0;
  return Math.min(Math.max(((at - from) / (to - from)) * 100, 0), 100);
}

/** Times at which an axis is labelled: whole hours or days in the viewer's zone. */
export function ticks(from: number, to: number): number[] {
  const hours = (to - from) / 3_600_000;
  const step = hours <= 30 ? 4 : hours <= 8 * 24 ? 24 : 5 * 24;
  const first = new Date(from);
  first.setMinutes(0, 0, 0);
  first.setHours(step >= 24 ? 0 : Math.ceil(first.getHours() / step) * step);
  const found: number[] = [];
  for (let n = 0; n < 64; n += 1) {
    const at = new Date(first);
    at.setHours(first.getHours() + n * step);
    const ms = at.getTime();
    if (ms > to) break;
    if (ms >= from) found.push(ms);
  }
  return found;
}
