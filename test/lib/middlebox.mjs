// middlebox HOST:PORT FOLDER: what stands there between a browser and the server, as the last line on its standard input says:
//
//   {"way":"straight","to":"HOST:PORT"}                what comes is passed on as it came
//   {"way":"opened","to":"HOST:PORT"}                  the TLS is opened, and another one made to the server: with a hello of our own
//   {"way":"proxy","to":"HOST:PORT","from":"ADDRESS"}  the organisation's own proxy, which says from where it was asked
//
// With each line all connections end: nobody goes on by the way of before. FOLDER has the certificates, see certificate.mjs.
import { readFileSync } from "node:fs";
import https from "node:https";
import net from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import tls from "node:tls";

const [here, folder] = process.argv.slice(2);
const [own, port] = here.split(":");
const pair = (name) => ({ key: readFileSync(join(folder, `${name}.key`)), cert: readFileSync(join(folder, `${name}.pem`)) });
const open = new Set();
let now, host, at;

/** Ends with the way of now. */
function held(socket) {
  open.add(socket);
  return socket.on("close", () => open.delete(socket)).on("error", () => socket.destroy());
}

function joined(a, b) {
  a.pipe(b).pipe(a);
  for (const [x, y] of [[a, b], [b, a]]) held(x).on("close", () => y.destroy());
}

const box = tls.createServer({ ...pair("middlebox"), ALPNProtocols: ["http/1.1"], minVersion: "TLSv1.3" }, (inner) =>
  joined(inner, tls.connect({ host, port: at, servername: "localhost", ALPNProtocols: ["http/1.1"], minVersion: "TLSv1.3", rejectUnauthorized: false })));
box.on("tlsClientError", () => {});

const asked = (request) => https.request({ host, port: at, localAddress: own, method: request.method, path: request.url, agent: false, rejectUnauthorized: false,
  headers: { ...request.headers, "x-forwarded-for": now.from, "x-forwarded-proto": "https" } });
const proxy = https.createServer(pair("server"), (request, answer) => {
  const on = asked(request).on("error", () => answer.destroy()).on("response", (said) => {
    answer.writeHead(said.statusCode, said.headers);
    said.pipe(answer);
  });
  request.pipe(on);
});
proxy.on("upgrade", (request, socket, head) => {
  held(socket);
  asked(request).on("error", () => socket.destroy()).on("response", () => socket.destroy()).on("upgrade", (said, inner, first) => {
    const headers = Object.entries(said.headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headers}\r\n`);
    socket.write(first);
    inner.write(head);
    joined(socket, inner);
  }).end();
});

const listener = net.createServer((socket) => {
  held(socket);
  if (now?.way === "straight") joined(socket, net.connect({ host, port: at }));
  else if (now) (now.way === "opened" ? box : proxy).emit("connection", socket);
  else socket.destroy();
});
createInterface({ input: process.stdin }).on("line", (line) => {
  now = JSON.parse(line);
  [host, at] = now.to.split(":");
  for (const socket of open) socket.destroy();
  console.log("ready");
});
listener.listen(Number(port), own, () => console.log("ready"));
