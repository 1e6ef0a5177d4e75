// Times and amounts in words. Pure: `now` is always given.

/** Milliseconds of an RFC 3339 time; null if it is none. */
export function parseTime(text: string | null | undefined): number | null {
  if (text === null || text === undefined) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

/** A length of time in one unit, as the command line shows it: `12s`, `5m`, `3h`, `4d`. */
export function age(ms: number): string {
  const seconds = Math.floor(Math.max(ms, 0) / 1000);
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** A length of time in at most two units: `12 s`, `5 min`, `3 h 4 min`, `3 d 4 h`. */
export function length(ms: number): string {
  const seconds = Math.floor(Math.max(ms, 0) / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days >= 14) return `${days} d`;
  if (days > 0) return two(days, "d", hours % 24, "h");
  if (hours > 0) return two(hours, "h", minutes % 60, "min");
  if (minutes >= 10) return `${minutes} min`;
  if (minutes > 0) return two(minutes, "min", seconds % 60, "s");
  return `${seconds} s`;
}

function two(a: number, unitA: string, b: number, unitB: string): string {
  return b === 0 ? `${a} ${unitA}` : `${a} ${unitA} ${b} ${unitB}`;
}

/** How long something took: `340 ms`, `4.2 s`, `3 min 5 s`. */
export function took(ms: number): string {
  if (ms < 1000) return `${Math.max(Math.round(ms), 0)} ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  return length(ms);
}

const pad = (n: number): string => String(n).padStart(2, "0");

/** The time of day in the viewer's zone: `12:03:07`. */
export function clock(at: number): string {
  const date = new Date(at);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** The day in the viewer's zone: `2026-11-30`. */
export function day(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** As short as it is unambiguous on the day of `now`: the time, or day and time. */
export function when(at: number, now: number): string {
  if (day(at) === day(now)) return clock(at);
  const date = new Date(at);
  return `${day(at)} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

/** Everything about a time, for a tooltip. */
export function exact(at: number): string {
  return `${day(at)} ${clock(at)} (${iso(at)})`;
}

/** RFC 3339 in UTC, for copies. */
export function iso(at: number): string {
  return new Date(at).toISOString();
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

/** An amount of bytes: `812 bytes`, `4.2 MiB`. */
export function bytes(count: number): string {
  let amount = Math.max(count, 0);
  let unit = 0;
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const text = unit === 0 ? String(Math.round(amount)) : amount >= 100 ? String(Math.round(amount)) : amount.toFixed(1);
  return unit === 0 && amount === 1 ? "1 byte" : `${text} ${UNITS[unit]}`;
}

/** A whole number with thin groups: `4,120,331`. */
export function count(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** `1 agent`, `2 agents`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}
