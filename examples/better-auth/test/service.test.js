import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "node:test";
import { post, runToExit, signUp, startService, tokenOf } from "./kit.js";

test("people and sessions outlive a restart, and a stop is a clean one", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "better-auth-example-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const DATABASE = join(folder, "auth.db");
  const first = await startService(context, { DATABASE });
  const alice = await signUp(first);
  assert.deepEqual(await first.stop(), { code: 0, signal: null });
  const second = await startService(context, { DATABASE });
  assert.ok(await tokenOf(second, alice));
  const signIn = await post(second, "sign-in/email", { email: alice.email, password: "correct horse" });
  assert.equal((await signIn.json()).user.id, alice.id);
});

test("a store that cannot be opened is a failed start", async () => {
  const { code, stdout, stderr } = await runToExit({ DATABASE: "/nowhere/at/all/auth.db" });
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(stderr, /could not start/);
});

test("without a session there is no token", async (context) => {
  const service = await startService(context);
  assert.equal((await fetch(`${service.url}/api/auth/token`)).status, 401);
});

test("guessing passwords is slowed down unless that is switched off", async (context) => {
  for (const [RATE_LIMIT, expected] of [["on", 429], ["off", 401]]) {
    const service = await startService(context, { RATE_LIMIT });
    const guess = { email: "alice@example.com", password: "password1234" };
    let response;
    for (let times = 0; times < 4; times++) response = await post(service, "sign-in/email", guess);
    assert.equal(response.status, expected, `RATE_LIMIT=${RATE_LIMIT}`);
  }
});

test("answers of Better Auth are never cached", async (context) => {
  const service = await startService(context);
  for (const endpoint of ["token", "get-session", "jwks"]) {
    const response = await fetch(`${service.url}/api/auth/${endpoint}`);
    assert.equal(response.headers.get("Cache-Control"), "no-store", endpoint);
  }
});

test("the page runs its own files alone, and every file it names is there", async (context) => {
  const service = await startService(context, { API_ORIGIN: "https://api.example" });
  const response = await fetch(`${service.url}/`);
  const html = await response.text();
  const policy = response.headers.get("Content-Security-Policy");
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
  assert.match(policy, /connect-src 'self' https:\/\/api\.example;/);
  assert.doesNotMatch(policy, /unsafe/);
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=/);
  const named = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
  assert.ok(named.length >= 3);
  for (const path of [...named, "/assets/account.js", "/assets/tasks.js"]) {
    const file = await fetch(service.url + path);
    assert.equal(file.status, 200, path);
    assert.equal(file.headers.get("X-Content-Type-Options"), "nosniff");
  }
  assert.deepEqual(await (await fetch(`${service.url}/config.json`)).json(), { apiOrigin: "https://api.example" });
});

test("health is told, and what is not there is refused in problem+json", async (context) => {
  const service = await startService(context);
  const expected = [
    ["GET", "/healthz", 200],
    ["HEAD", "/", 200],
    ["POST", "/", 405],
    ["GET", "/assets/../src/main.js", 404],
    ["GET", "/api/alice/tasks", 404],
  ];
  for (const [method, path, status] of expected) {
    const response = await fetch(service.url + path, { method });
    assert.equal(response.status, status, `${method} ${path}`);
    if (status >= 400) assert.equal((await response.json()).status, status);
  }
});

test("a request that is no URL gets an answer and does not end the service", async (context) => {
  const service = await startService(context);
  const socket = connect(new URL(service.url).port, "127.0.0.1");
  await once(socket, "connect");
  socket.write("GET /api/auth/ok HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n");
  assert.match(await text(socket), /^HTTP\/1\.1 [45]\d\d /);
  assert.equal((await fetch(`${service.url}/healthz`)).status, 200);
});
