// Requests of the terminal views. Each has the header that the server wants of whatever the cookie authenticates.

export async function request(path: string, signal: AbortSignal): Promise<Response> {
  return fetch(path, { headers: { "X-Onsembl": "1" }, credentials: "same-origin", cache: "no-store", signal });
}

/** What a server says of why it refused. */
export async function problem(answer: Response): Promise<string> {
  try {
    const body = (await answer.json()) as { error?: string };
    if (typeof body.error === "string") return body.error;
  } catch {
    // It is none of ours.
  }
  return `the server answered ${answer.status}`;
}
