// The one-time code of a link, and where to go after signing in. Pure.

/** The one-time code in a fragment. */
export function codeIn(hash: string): string | null {
  const code = new URLSearchParams(hash).get("code");
  return code === null || code === "" ? null : code;
}

/** Where to go when signed in: a view of this page, and nothing else. */
export function safeNext(next: string | null): string {
  if (next === null || !next.startsWith("/") || next.startsWith("//") || next.includes("\\")) return "/fleet";
  const to = new URL(next, "http://here.invalid");
  return to.host === "here.invalid" && to.pathname !== "/sign-in" ? `${to.pathname}${to.search}` : "/fleet";
}
