// Requests over HTTP: always with the header that cookies need (P-490 and following), always with a deadline, and an error that says
// what failed and what to do.

/** Why a request failed. `status` 0: no answer at all. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string | null;
  /** When to ask again, ms from now; null if it does not say. */
  readonly retryAfter: number | null;

  constructor(message: string, status: number, code: string | null, retryAfter: number | null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  get isSignedOut(): boolean {
    return this.status === 401;
  }
}

/** How long an answer may take, ms. Orders wait for the database. */
const PATIENCE = 35_000;

type Method = "GET" | "POST" | "DELETE";

/** Called when the server says that nobody is signed in. */
let signedOut: () => void = () => {};

export function onSignedOut(call: () => void): void {
  signedOut = call;
}

async function send(method: Method, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { "X-Onsembl": "1", Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const deadline = AbortSignal.timeout(PATIENCE);
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    const why = deadline.aborted
      ? `the server did not answer within ${PATIENCE / 1000} s`
      : "the server cannot be reached: it does not run, or the network is down";
    throw new ApiError(why, 0, null, null);
  }
  if (answer.ok) return answer;
  throw await failure(answer, path);
}

async function failure(answer: Response, path: string): Promise<ApiError> {
  const seconds = Number(answer.headers.get("Retry-After") ?? Number.NaN);
  const fallback = { error: `the server answered ${answer.status}`, code: null as string | null, retryAfterMs: null as number | null };
  try {
    const text = await answer.text();
    const said: unknown = JSON.parse(text);
    if (typeof said === "object" && said !== null) {
      const { error, code, retryAfterMs } = said as Record<string, unknown>;
      if (typeof error === "string") fallback.error = error;
      if (typeof code === "string") fallback.code = code;
      if (typeof retryAfterMs === "number") fallback.retryAfterMs = retryAfterMs;
    }
  } catch {
    // Something in between answered: its status is all there is.
  }
  const retryAfter = fallback.retryAfterMs ?? (Number.isNaN(seconds) ? null : seconds * 1000);
  const failed = new ApiError(fallback.error, answer.status, fallback.code, retryAfter);
  if (failed.isSignedOut && !path.startsWith("/api/page/session")) signedOut();
  return failed;
}

/** The answer as JSON. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await json(await send("GET", path, undefined, signal))) as T;
}

/** The answer as it is. */
export async function getText(path: string, signal?: AbortSignal): Promise<string> {
  return (await send("GET", path, undefined, signal)).text();
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  return (await json(await send("POST", path, body))) as T;
}

export async function remove(path: string): Promise<void> {
  await send("DELETE", path, undefined);
}

async function json(answer: Response): Promise<unknown> {
  try {
    return await answer.json();
  } catch {
    throw new ApiError("the answer is not from an onsembl-server of this version; reload the page", answer.status, null, null);
  }
}

/** A path with its parts escaped: `path\`/api/agents/${id}\``. */
export function path(parts: TemplateStringsArray, ...values: readonly (string | number)[]): string {
  return parts.reduce((text, part, at) => text + part + (at < values.length ? encodeURIComponent(String(values[at])) : ""), "");
}

/** An error in one sentence. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
