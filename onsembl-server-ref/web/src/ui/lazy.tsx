// A view that is loaded when it is first shown. What is on the screen stays until it is there.

import { useEffect, useState } from "preact/hooks";
import type { ComponentType, JSX } from "preact";

export function lazy<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): ComponentType<P> {
  let loaded: ComponentType<P> | null = null;
  return function Lazy(props: P): JSX.Element {
    const [View, setView] = useState<ComponentType<P> | null>(() => loaded);
    const [failed, setFailed] = useState<string | null>(null);
    useEffect(() => {
      if (loaded !== null) return;
      let wanted = true;
      load().then(
        (module) => {
          loaded = module.default;
          if (wanted) setView(() => module.default);
        },
        () => {
          if (wanted) setFailed("This part of the page could not be loaded: the server may have another version now.");
        },
      );
      return () => {
        wanted = false;
      };
    }, []);
    if (View !== null) return <View {...props} />;
    return <p role="status">{failed ?? "Loading…"}</p>;
  };
}
