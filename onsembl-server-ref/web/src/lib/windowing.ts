// Which rows of a long list are in the document. Pure.

export interface Viewport {
  /** Rows in the list. */
  readonly rows: number;
  /** Height of a row, CSS px. */
  readonly rowHeight: number;
  /** Where the list begins, relative to the top of what is visible: negative once scrolled past. */
  readonly listTop: number;
  /** Height of what is visible. */
  readonly height: number;
}

export interface Range {
  /** The first row, from 0. */
  readonly from: number;
  /** Behind the last row. */
  readonly to: number;
}

/** Rows in the document at most, unless the screen itself shows more. */
export const MOST_ROWS = 60;
/** Rows beyond each edge, for scrolling without a blank. */
const SPARE = 8;

/** The rows to be there. */
export function visible({ rows, rowHeight, listTop, height }: Viewport): Range {
  if (rows <= 0 || rowHeight <= 0) return { from: 0, to: 0 };
  const first = Math.floor(Math.max(-listTop, 0) / rowHeight);
  const last = Math.ceil(Math.max(height - listTop, 0) / rowHeight);
  const shownFrom = Math.min(first, rows);
  const shownTo = Math.max(Math.min(last, rows), shownFrom);
  const room = Math.max(MOST_ROWS - (shownTo - shownFrom), 0);
  const spare = Math.min(SPARE, Math.floor(room / 2));
  return { from: Math.max(shownFrom - spare, 0), to: Math.min(shownTo + spare, rows) };
}

/** The same, with one more row that must be there: the one that has the focus. Null if it is already. */
export function besides(range: Range, row: number): number | null {
  return row >= range.from && row < range.to ? null : row;
}
