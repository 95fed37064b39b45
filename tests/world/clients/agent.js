"use strict";
// Drives one of the JavaScript clients, named by the first argument; README.rst says in what words.

const readline = require("readline");
const io = require(process.argv[2]);

const TRANSPORTS = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};
const EVENTS = ["auth", "message-back", "question", "answered"];

let manager = null;
const sockets = {};

function say(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

function pack(value) {
  if (Buffer.isBuffer(value)) {
    return { $bytes: value.toString("base64") };
  }
  if (value instanceof ArrayBuffer) {
    return { $bytes: Buffer.from(value).toString("base64") };
  }
  if (Array.isArray(value)) {
    return value.map(pack);
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pack(item)]));
  }
  return value;
}

function unpack(value) {
  if (Array.isArray(value)) {
    return value.map(unpack);
  }
  if (value !== null && typeof value === "object") {
    if (typeof value.$bytes === "string") {
      return Buffer.from(value.$bytes, "base64");
    }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
  }
  return value;
}

function reasonOf(error) {
  return typeof error === "string" ? error : error.message;
}

// Tells which transport is in use, now and after an upgrade.
function watchTransport() {
  const engine = manager.engine;
  say({ saw: "transport", name: engine.transport.name });
  engine.once("upgrade", (transport) => say({ saw: "transport", name: transport.name }));
}

function watch(socket, nsp) {
  socket.on("connect", () => say({ saw: "connect", nsp }));
  socket.on("disconnect", () => say({ saw: "disconnect", nsp }));
  // A refused namespace is "error" in version 2 and "connect_error" since version 3.
  for (const name of ["error", "connect_error"]) {
    socket.on(name, (error) => say({ saw: "refused", nsp, reason: reasonOf(error) }));
  }
  for (const event of EVENTS) {
    socket.on(event, (...args) => {
      const answer = typeof args[args.length - 1] === "function" ? args.pop() : null;
      say({ saw: "event", nsp, event, args: pack(args) });
      if (answer !== null) {
        answer(...args);
      }
    });
  }
}

const COMMANDS = {
  open({ url, transports, namespaces }) {
    const options = { transports: TRANSPORTS[transports], reconnectionDelay: 50, reconnectionDelayMax: 200 };
    manager = new io.Manager(url, { ...options, autoConnect: false });
    manager.on("open", watchTransport);
    for (const nsp of namespaces) {
      sockets[nsp] = manager.socket(nsp);
      watch(sockets[nsp], nsp);
      sockets[nsp].connect();
    }
  },
  emit({ nsp, event, args, ack }) {
    const answer = (...values) => say({ saw: "ack", ack, args: pack(values) });
    sockets[nsp].emit(event, ...unpack(args), ...(ack === undefined ? [] : [answer]));
  },
  leave({ nsp }) {
    sockets[nsp].disconnect();
  },
  close() {
    Object.values(sockets).forEach((socket) => socket.disconnect());
  },
};

const input = readline.createInterface({ input: process.stdin });
input.on("line", (text) => {
  const line = JSON.parse(text);
  COMMANDS[line.do](line);
});
input.on("close", () => process.exit(0));
