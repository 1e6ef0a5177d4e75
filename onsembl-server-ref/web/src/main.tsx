// Where the page begins.

import { render } from "preact";
import { App } from "./app.tsx";
import { listen } from "./router.ts";
import "./style/tokens.css";

const root = document.getElementById("app");
if (root !== null) {
  listen();
  render(<App />, root);
}
