"use strict";

// A Socket.IO server as its documentation has it: a room for each user, and a route that
// emits to one. STORE names the socket of a store; without it there is no adapter.

const http = require("node:http");
const { Server } = require("socket.io");

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
    request.on("end", () => {
      const user = request.url.slice(ROUTE.length);
      io.to(user).emit("message", Buffer.concat(chunks).toString());
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
