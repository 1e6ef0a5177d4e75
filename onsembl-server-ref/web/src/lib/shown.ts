// What a peer chose, as people may see it: characters that are not seen as what they are become visible, by the same
// rules as in the command lines (protocol/shown.rs). Pure.

/** Characters that are shown of one value. */
const MOST = 1024;

const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u115f\u1160\u3164\uffa0\u180b-\u180f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb\u{1d173}-\u{1d17a}\u{1bca0}-\u{1bca3}\u{e0000}-\u{e00ff}]|(?<=^|[\u0000-\u007f])[\u200c\u200d\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;

const NAMED: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The text in one line, of at most `most` characters; an ellipsis stands for the rest. */
export function shown(text: string, most = MOST): string {
  const cut = text.length > most ? [...text] : null;
  const kept = cut !== null && cut.length > most ? `${cut.slice(0, most).join("")}…` : text;
  return kept.replace(UNSEEN, (c) => NAMED[c] ?? `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

/** A text of several lines: its line ends and tabs stay. */
export function shownLines(text: string): string {
  return text.replace(UNSEEN, (c) => (c === "\n" || c === "\t" ? c : NAMED[c] ?? `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`));
}
