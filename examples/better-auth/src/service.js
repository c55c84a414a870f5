// The running service: its store, its socket, its end.

import { once } from "node:events";
import { createServer } from "node:http";
import Database from "better-sqlite3";
import { createAuth, ensureSigningKey, migrate } from "./auth.js";
import { createListener } from "./listener.js";

/** How long a stop waits for requests in flight, in milliseconds. */
const DRAIN = 5_000;

/**
 * Starts the service and resolves when it answers.
 *
 * @returns {Promise<{ address: string, origin: string, stop: () => Promise<void> }>} where it listens, and its issuer
 * @throws when the store cannot be opened or the address cannot be had
 */
export async function startService(settings) {
  const database = new Database(settings.database);
  database.pragma("journal_mode = WAL");
  await migrate(settings, database);

  const server = createServer();
  server.listen(settings.port, settings.host);
  await once(server, "listening");
  const { address, family, port } = server.address();
  // The origin may hold the port that the system chose, so Better Auth comes after the socket.
  const origin = settings.origin ?? `http://localhost:${port}`;
  const auth = createAuth(settings, database, origin);
  server.on("request", createListener(settings, auth, database));
  await ensureSigningKey(settings, auth, database);
  const host = family === "IPv6" ? `[${address}]` : address;
  return { address: `${host}:${port}`, origin, stop: () => stop(server, database) };
}

/** Refuses new connections, lets what is in flight finish, and closes the store. */
async function stop(server, database) {
  const closed = once(server, "close");
  server.close();
  setTimeout(() => server.closeAllConnections(), DRAIN).unref();
  await closed;
  database.close();
}
