// One request → Better Auth, the page, health, or a refusal.

import { toNodeHandler } from "better-auth/node";
import { loadPage, securityHeaders } from "./page.js";

/**
 * @param {import("better-auth").Auth} auth
 * @param {import("better-sqlite3").Database} database asked whether the service is healthy
 * @returns {import("node:http").RequestListener}
 */
export function createListener(settings, auth, database) {
  const betterAuth = toNodeHandler(auth);
  const page = loadPage(settings);
  const headers = new Headers(securityHeaders(settings));
  return async (request, response) => {
    response.setHeaders(headers);
    try {
      await answer(request, response, { betterAuth, page, database });
    } catch (fault) {
      console.error(`${request.method} ${pathOf(request)}:`, fault);
      if (response.headersSent) response.destroy();
      else refuse(response, 500, "Internal Server Error", "This request failed. The log of the service says why.");
    }
  };
}

async function answer(request, response, { betterAuth, page, database }) {
  const path = pathOf(request);
  if (path.startsWith("/api/auth/")) {
    // Tokens and sessions are in these answers, and Better Auth says nothing about caching them.
    response.setHeader("Cache-Control", "no-store");
    return betterAuth(request, response);
  }
  const file = path === "/healthz" ? health(database) : page.get(path);
  if (!file) return refuse(response, 404, "Not Found", "There is nothing at this path of the sign-in service.");
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    return refuse(response, 405, "Method Not Allowed", "This path answers GET and HEAD.");
  }
  response.writeHead(200, { "Content-Type": file.type, "Content-Length": file.body.length, "Cache-Control": "no-cache" });
  response.end(file.body);
}

/** @throws when the store does not answer */
function health(database) {
  database.prepare("SELECT 1").get();
  return { type: "text/plain; charset=utf-8", body: Buffer.from("ok\n") };
}

function refuse(response, status, title, detail) {
  response.writeHead(status, { "Content-Type": "application/problem+json", "Cache-Control": "no-store" });
  response.end(JSON.stringify({ type: "about:blank", title, status, detail }));
}

function pathOf(request) {
  return request.url.split("?", 1)[0];
}
