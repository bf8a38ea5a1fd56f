// The WebSocket as the core wants it: frames that come before it listens are kept.

export interface CoreSocket {
  onmessage: ((frame: string) => void) | null;
  onclose: (() => void) | null;
  /** Begins to hand over frames. */
  start(): void;
  send(frame: string): void;
  close(): void;
}

const subprotocol = "conclave.1";
const dialLimit = 5000;

/** Resolves once the connection is open and speaks our language. */
export function connect(url: string): Promise<CoreSocket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, subprotocol);
    const early: string[] = [];
    let started = false;
    let closed = false;
    const timer = setTimeout(() => ws.close(), dialLimit);
    const socket: CoreSocket = {
      onmessage: null,
      onclose: null,
      start() {
        started = true;
        for (const frame of early.splice(0)) socket.onmessage?.(frame);
        if (closed) socket.onclose?.();
      },
      send(frame) {
        if (ws.readyState === WebSocket.OPEN) ws.send(frame);
      },
      close() {
        ws.close(1000);
      },
    };
    ws.onopen = () => {
      clearTimeout(timer);
      if (ws.protocol === subprotocol) resolve(socket);
      else ws.close();
    };
    ws.onmessage = (event: MessageEvent<unknown>) => {
      if (typeof event.data !== "string") ws.close();
      else if (started) socket.onmessage?.(event.data);
      else early.push(event.data);
    };
    ws.onclose = () => {
      clearTimeout(timer);
      closed = true;
      if (started) socket.onclose?.();
      reject(new Error("core: connection lost"));
    };
  });
}
