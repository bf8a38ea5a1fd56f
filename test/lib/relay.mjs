// relay FROM TO: listens at FROM and joins each connection to one to TO; both are unix:PATH or tcp:HOST:PORT.
import net from "node:net";

function address(text) {
  const [kind, host, port] = text.split(":");
  return kind === "unix" ? { path: host } : { host, port: Number(port) };
}

const [from, to] = process.argv.slice(2).map(address);
net
  .createServer((a) => {
    const b = net.connect(to);
    a.pipe(b).pipe(a);
    for (const [x, y] of [[a, b], [b, a]]) x.on("error", () => y.destroy()).on("close", () => y.destroy());
  })
  .listen(from, () => console.log("ready"));
