// Names of things in few words. Pure.

/** A browser in two or three words; all of it is in the title. */
export function browserOf(agent: string | null): string {
  if (agent === null || agent === "") return "an unknown browser";
  const browser =
    /Edg\//.test(agent) ? "Edge"
    : /Firefox\//.test(agent) ? "Firefox"
    : /Chrome\/|Chromium\//.test(agent) ? "Chrome"
    : /Safari\//.test(agent) ? "Safari"
    : "a browser";
  const system =
    /iPhone|iPad/.test(agent) ? "iOS"
    : /Android/.test(agent) ? "Android"
    : /Windows/.test(agent) ? "Windows"
    : /Mac OS X/.test(agent) ? "macOS"
    : /Linux/.test(agent) ? "Linux"
    : null;
  return system === null ? browser : `${browser} on ${system}`;
}

/** `output_days` and `outputDays` as words. */
export function spaced(name: string): string {
  const words = name
    .replace(/_(ms|secs?|seconds|bytes)$/, "")
    .replace(/(Ms|Secs?|Seconds|Bytes)$/, "")
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replaceAll("_", " ")
    .toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
