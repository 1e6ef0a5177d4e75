// Addresses of the views: every view has one, and Back works. Pure but for `navigate` and `listen`.

import { signal, type ReadonlySignal } from "@preact/signals";

export type Route =
  | { readonly view: "fleet" }
  | { readonly view: "agent"; readonly id: string }
  | { readonly view: "terminal"; readonly id: string; readonly log: boolean }
  | { readonly view: "commands" }
  | { readonly view: "command"; readonly id: string }
  | { readonly view: "stop" }
  | { readonly view: "incidents" }
  | { readonly view: "settings" }
  | { readonly view: "sign-in" }
  | { readonly view: "nowhere"; readonly path: string };

export interface Place {
  readonly route: Route;
  readonly query: URLSearchParams;
  /** Without its `#`. */
  readonly hash: string;
}

/** What a path shows. */
export function read(path: string): Route {
  const parts = path.split("/").filter((part) => part !== "");
  const [first, second, third] = parts;
  const id = second === undefined ? null : decoded(second);
  if (parts.length <= 1) {
    switch (first) {
      case undefined:
      case "fleet":
        return { view: "fleet" };
      case "commands":
      case "stop":
      case "incidents":
      case "settings":
      case "sign-in":
        return { view: first };
      default:
        return { view: "nowhere", path };
    }
  }
  if (id === null) return { view: "nowhere", path };
  if (first === "agents" && parts.length === 2) return { view: "agent", id };
  if (first === "commands" && parts.length === 2) return { view: "command", id };
  if (first === "terminals" && parts.length === 2) return { view: "terminal", id, log: false };
  if (first === "terminals" && parts.length === 3 && third === "log") return { view: "terminal", id, log: true };
  return { view: "nowhere", path };
}

/** The path of a view. */
export function pathOf(route: Route): string {
  switch (route.view) {
    case "fleet":
      return "/fleet";
    case "agent":
      return `/agents/${encodeURIComponent(route.id)}`;
    case "terminal":
      return `/terminals/${encodeURIComponent(route.id)}${route.log ? "/log" : ""}`;
    case "command":
      return `/commands/${encodeURIComponent(route.id)}`;
    case "commands":
    case "stop":
    case "incidents":
    case "settings":
    case "sign-in":
      return `/${route.view}`;
    case "nowhere":
      return route.path;
  }
}

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

const here = signal<Place>({ route: { view: "fleet" }, query: new URLSearchParams(), hash: "" });

/** Where the page is. */
export const place: ReadonlySignal<Place> = here;

function settle(): void {
  const { pathname, search, hash } = window.location;
  here.value = { route: read(pathname), query: new URLSearchParams(search), hash: hash.slice(1) };
}

/** Goes there; `replace` leaves no entry to go back to. */
export function navigate(to: string, how: "push" | "replace" = "push"): void {
  if (how === "push") window.history.pushState(null, "", to);
  else window.history.replaceState(null, "", to);
  settle();
  if (how === "push") window.scrollTo(0, 0);
}

/** Changes the query of this view and nothing else; empty values go. */
export function setQuery(changes: Record<string, string | null>): void {
  const query = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  navigate(`${window.location.pathname}${text === "" ? "" : `?${text}`}`, "replace");
}

/** Follows the address, and links within the page. */
export function listen(): () => void {
  const click = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a");
    if (!link || link.target !== "" || link.hasAttribute("download")) return;
    const to = new URL(link.href, window.location.href);
    if (to.origin !== window.location.origin || to.pathname.startsWith("/assets/") || to.pathname.startsWith("/api/")) return;
    if (to.pathname === window.location.pathname && to.search === window.location.search && to.hash !== "") return;
    event.preventDefault();
    navigate(`${to.pathname}${to.search}${to.hash}`);
  };
  settle();
  window.addEventListener("popstate", settle);
  window.addEventListener("hashchange", settle);
  document.addEventListener("click", click);
  return () => {
    window.removeEventListener("popstate", settle);
    window.removeEventListener("hashchange", settle);
    document.removeEventListener("click", click);
  };
}
