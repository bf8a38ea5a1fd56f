// The ways from one host's localhost to the server: straight, through somebody who opens the TLS, or through the organisation's own
// proxy. Sound goes its own way, always straight.
import { fileURLToPath } from "node:url";
import { ready, serverAddress } from "./host.mjs";
import { port } from "./house.mjs";

const program = fileURLToPath(new URL("middlebox.mjs", import.meta.url));

export class Ways {
  /** The proxy's address, to be a trusted one in the server's settings. It stands beside the server: hosts reach nobody else. */
  static proxy = "10.77.0.2";

  /** Between host and the house's server. */
  static async open(house, host) {
    const ways = new Ways();
    const { server, folder } = house.network;
    server.ip("addr", "add", `${Ways.proxy}/32`, "dev", "lo");
    const start = async (at, address) => {
      const child = at.spawn(process.execPath, [program, `${address}:${port}`, folder], { stdio: ["pipe", "pipe", "inherit"] });
      await ready(child, `${at.name}: middlebox`);
      return child;
    };
    ways.near = await start(host, "127.0.0.1");
    ways.own = await start(server, Ways.proxy);
    await ways.straight();
    return ways;
  }

  async #go(child, way) {
    const said = ready(child, `the way ${way.way}`);
    child.stdin.write(`${JSON.stringify(way)}\n`);
    await said;
  }

  straight() {
    return this.#go(this.near, { way: "straight", to: `${serverAddress}:${port}` });
  }

  /** Somebody between opens the TLS, and makes their own to the server. */
  opened() {
    return this.#go(this.near, { way: "opened", to: `${serverAddress}:${port}` });
  }

  /** By the organisation's proxy, which was asked from an address. */
  async from(address) {
    await this.#go(this.own, { way: "proxy", to: `${serverAddress}:${port}`, from: address });
    await this.#go(this.near, { way: "straight", to: `${Ways.proxy}:${port}` });
  }
}
