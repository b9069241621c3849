"use strict";

// A Socket.IO server as its documentation has it: a room for each user, and a route that
// emits to one. STORE names the socket of a store; without it there is no adapter.

const http = require("node:http");
const { Server } = require("socket.io");
const { PacketType } = require("socket.io-parser");

const { PORT, STORE } = process.env;
const ROUTE = "/messages/";
const ACCEPTED = '{"accepted":true}';

async function adapter() {
  const { createClient } = require("redis");
  const { createAdapter } = require("@socket.io/redis-streams-adapter");
  const client = createClient({ socket: { path: STORE } });
  await client.connect();
  return createAdapter(client);
}

// `io.to(user).emit("message", text)`, but it tells when the adapter has stored the message.
// A server that does not wait for that accepts more than it can deliver.
async function emit(io, user, text) {
  const packet = { type: PacketType.EVENT, data: ["message", text] };
  const options = { rooms: new Set([user]), except: new Set(), flags: {} };
  await io.of("/").adapter.broadcast(packet, options);
}

async function main() {
  const server = http.createServer();
  const io = new Server(server, STORE ? { adapter: await adapter() } : {});

  io.on("connection", (socket) => {
    socket.join(socket.handshake.auth.user);
    socket.emit("joined");
  });

  server.on("request", (request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", async () => {
      const user = request.url.slice(ROUTE.length);
      await emit(io, user, Buffer.concat(chunks).toString());
      response.writeHead(202, {
        "Content-Type": "application/json",
        "Content-Length": ACCEPTED.length,
      });
      response.end(ACCEPTED);
    });
  });

  server.listen(Number(PORT), "127.0.0.1");
}

main();
