// Who gets in, by what, and what of others they see.

import { expect } from "vitest";
import { scenario } from "../rig/scenario.ts";
import { until } from "../rig/programs.ts";

scenario("a link signs in once, its code leaves the address, and the session ends with the sign-out", async ({ site, open }) => {
  const watched = await open();
  const { url } = await site.api<{ url: string }>("/api/page/links", "ann", { method: "POST", body: "{}" });
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#code=[A-Za-z0-9_-]{20,}$/);
  await watched.page.goto(url);
  await watched.page.getByRole("heading", { name: "No agents yet" }).waitFor();
  expect(watched.page.url()).not.toContain("code");
  const cookies = await watched.context.cookies();
  expect(cookies).toMatchObject([{ httpOnly: true, sameSite: "Strict", path: "/" }]);

  const other = await open();
  await other.page.goto(url);
  await other.page.getByText("This link was used before").waitFor();
  await other.accessible("signing in");

  await watched.page.goto(`${site.address}/settings`);
  await watched.page.getByRole("button", { name: /^Sign out/ }).click();
  await watched.page.getByRole("heading", { name: "Sign in to Onsembl" }).waitFor();
  const answer = await watched.page.evaluate(async () => (await fetch("/api/agents", { headers: { "X-Onsembl": "1" } })).status);
  expect(answer).toBe(401);
});

scenario("a second user sees nothing of the first", async ({ site, signedIn }) => {
  site.agent("secret-of-ann");
  await site.status("secret-of-ann", "online");
  const ann = await signedIn();
  await ann.page.getByRole("link", { name: "secret-of-ann" }).waitFor();
  const bob = await signedIn({ user: "bob" });
  await bob.page.getByRole("heading", { name: "No agents yet" }).waitFor();
  const { agent_id } = await site.status("secret-of-ann", "online");
  await bob.page.goto(`${site.address}/agents/${agent_id}`);
  await bob.page.getByRole("heading", { name: "No such agent" }).waitFor();
  await bob.page.goto(`${site.address}/commands`);
  expect(await bob.page.locator("body").innerText()).not.toContain("secret-of-ann");
});

scenario("a session that may only look can change nothing", async ({ site, signedIn }) => {
  site.agent("worker");
  const { agent_id } = await site.status("worker", "online");
  const watched = await signedIn({ readOnly: true });
  await watched.page.getByText("read only", { exact: true }).waitFor();
  await watched.page.goto(`${site.address}/agents/${agent_id}`);
  await watched.page.getByRole("heading", { name: "worker" }).waitFor();
  expect(await watched.page.getByRole("button", { name: "Send" }).count()).toBe(0);
  const refused = await watched.page.evaluate(async () => {
    const answer = await fetch("/api/stop", { method: "POST", headers: { "X-Onsembl": "1", "Content-Type": "application/json" }, body: '{"all":true}' });
    return { status: answer.status, body: await answer.text() };
  });
  expect(refused.status).toBe(403);
  expect(refused.body).toContain("READ_ONLY");
  await until("no stop", async () => (await site.api<{ agents: { stopped: unknown }[] }>("/api/agents")).agents.every((agent) => agent.stopped === null));
});
