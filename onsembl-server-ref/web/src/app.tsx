// The frame around every view.

import { lazy } from "./ui/lazy.tsx";
import { place } from "./router.ts";

const Terminal = lazy(() => import("./terminal/index.tsx"));

export function App() {
  void Terminal;
  return <main>{place.value.route.view}</main>;
}
