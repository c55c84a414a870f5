// Starts the service as its own process, and signs people up at it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../src/main.js", import.meta.url));

export const SECRET = "a secret of the tests alone, long enough";

/** What a service starts with unless a test says otherwise; nothing of the developer's own environment. */
const ENVIRONMENT = { PATH: process.env.PATH, BETTER_AUTH_SECRET: SECRET, PORT: "0", DATABASE: ":memory:", RATE_LIMIT: "off" };

function spawnService(environment) {
  return spawn(process.execPath, [MAIN], { env: { ...ENVIRONMENT, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a service that is expected to refuse its environment. */
export async function runToExit(environment) {
  const child = spawnService(environment);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code, stdout, stderr };
}

/** A service that is ready; it ends with the test. */
export async function startService(test, environment = {}) {
  const child = spawnService(environment);
  test.after(() => child.kill("SIGKILL"));
  const stderr = text(child.stderr);
  const [line] = await Promise.race([once(createInterface(child.stdout), "line"), exitOf(child, stderr)]);
  const [, address, origin] = /^ready: listening on (\S+), issuer (\S+)$/.exec(line);
  const stop = async () => {
    child.kill("SIGTERM");
    const [code, signal] = await once(child, "exit");
    return { code, signal };
  };
  return { url: `http://${address}`, origin, stop };
}

async function exitOf(child, stderr) {
  const [code] = await once(child, "exit");
  throw new Error(`the service ended with ${code} before it was ready:\n${await stderr}`);
}

/** Posts as the page does. */
export function post({ url, origin }, endpoint, body) {
  return fetch(`${url}/api/auth/${endpoint}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Origin: origin },
    body: JSON.stringify(body),
  });
}

/** Signs somebody up and keeps their session. */
export async function signUp(service, name = "alice") {
  const response = await post(service, "sign-up/email", { name, email: `${name}@example.com`, password: "correct horse" });
  if (!response.ok) throw new Error(`sign-up: ${response.status} ${await response.text()}`);
  return { ...(await response.json()).user, cookie: response.headers.getSetCookie()[0].split(";")[0] };
}

/** A JWT of that session. */
export async function tokenOf({ url }, { cookie }) {
  const response = await fetch(`${url}/api/auth/token`, { headers: { cookie } });
  return (await response.json()).token;
}

export async function keySet({ url }) {
  return (await fetch(`${url}/api/auth/jwks`)).json();
}
