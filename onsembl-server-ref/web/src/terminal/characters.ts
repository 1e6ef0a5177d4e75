// Cuts output between characters. xterm.js 6.0 loses a character of three bytes that is cut behind its second one if that
// is 0x80, as in all dashes, quotation marks and ellipses. No effects.

/** Bytes of the character that a lead byte begins; 1 for any other byte. */
function lengthOf(byte: number): number {
  if (byte >= 0xf0 && byte <= 0xf7) return 4;
  if (byte >= 0xe0 && byte < 0xf0) return 3;
  return byte >= 0xc0 && byte < 0xe0 ? 2 : 1;
}

/** One stream of bytes. */
export class WholeCharacters {
  #held: Uint8Array = new Uint8Array();

  /** All of `bytes`, and what was held before, up to the last whole character. Bytes that are no text are not held. */
  take(bytes: Uint8Array): Uint8Array {
    let all = bytes;
    if (this.#held.length > 0) {
      all = new Uint8Array(this.#held.length + bytes.length);
      all.set(this.#held);
      all.set(bytes, this.#held.length);
    }
    let end = all.length;
    for (let back = 1; back <= 3 && back <= all.length; back += 1) {
      const byte = all[all.length - back] ?? 0;
      if ((byte & 0xc0) === 0x80) continue;
      if (lengthOf(byte) > back) end = all.length - back;
      break;
    }
    this.#held = all.slice(end);
    return all.subarray(0, end);
  }

  /** Forgets what is held: another stream begins. */
  clear(): void {
    this.#held = new Uint8Array();
  }
}
