// How well a text fits what was typed into the palette. Pure.

/** Greater is better; null if it does not fit. Every word must be found, in any order; letters of a word in order. */
export function score(query: string, text: string): number | null {
  const words = query.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const lower = text.toLowerCase();
  let sum = 0;
  for (const word of words) {
    const found = scoreWord(word, lower);
    if (found === null) return null;
    sum += found;
  }
  // Of two that fit alike the shorter one.
  return sum - text.length / 1000;
}

function scoreWord(word: string, text: string): number | null {
  const whole = text.indexOf(word);
  if (whole === 0) return 100;
  if (whole > 0) return isStart(text, whole) ? 80 : 60;
  let at = -1;
  let sum = 0;
  for (const letter of word) {
    const next = text.indexOf(letter, at + 1);
    if (next < 0) return null;
    sum += next === at + 1 ? 3 : isStart(text, next) ? 2 : 0;
    at = next;
  }
  return Math.min(sum, 40);
}

function isStart(text: string, at: number): boolean {
  return at === 0 || /[^a-z0-9]/.test(text[at - 1] ?? "");
}

/** The best `most` of these, best first; of equals the earlier one first. */
export function best<T>(query: string, items: readonly T[], textOf: (item: T) => string, most: number): T[] {
  if (query.trim() === "") return items.slice(0, most);
  const scored: { item: T; score: number; at: number }[] = [];
  items.forEach((item, at) => {
    const found = score(query, textOf(item));
    if (found !== null) scored.push({ item, score: found, at });
  });
  scored.sort((a, b) => b.score - a.score || a.at - b.at);
  return scored.slice(0, most).map(({ item }) => item);
}
