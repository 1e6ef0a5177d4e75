// Where the page begins.

import { render } from "preact";
import { App } from "./app.tsx";
import { listen } from "./router.ts";
import { begin } from "./store/app.ts";
import { applyPrefs } from "./store/prefs.ts";
import "./style/tokens.css";
import "./style/base.css";
import "./style/frame.css";
import "./style/fleet.css";
import "./style/agent.css";
import "./style/views.css";

const root = document.getElementById("app");
if (root !== null) {
  applyPrefs(document.documentElement);
  listen();
  begin();
  render(<App />, root);
}
