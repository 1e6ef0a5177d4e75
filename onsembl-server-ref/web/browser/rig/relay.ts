// A relay between an agent and its server that can lose one direction without a sign, as a broken path does.

import { connect, createServer, type Server, type Socket } from "node:net";

export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Directions of which nothing is passed on; it is read, so that the sender notices nothing. */
  readonly #dropped = new Set<"to-server" | "to-agent">();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** A relay to a port of this machine. */
  static async to(port: number): Promise<Relay> {
    const server = createServer();
    const relay = new Relay(server);
    server.on("connection", (agent) => relay.#join(agent, connect(port, "127.0.0.1")));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return relay;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the relay is closed");
    return `http://127.0.0.1:${address.port}`;
  }

  drop(direction: "to-server" | "to-agent"): void {
    this.#dropped.add(direction);
  }

  passAgain(): void {
    this.#dropped.clear();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  #join(agent: Socket, server: Socket): void {
    for (const [from, to, direction] of [
      [agent, server, "to-server"],
      [server, agent, "to-agent"],
    ] as const) {
      this.#sockets.add(from);
      from.on("data", (data) => {
        if (!this.#dropped.has(direction)) to.write(data);
      });
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
