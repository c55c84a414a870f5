import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";
import { ALGORITHMS } from "../src/settings.js";
import { keySet, SECRET, signUp, startService, tokenOf } from "./kit.js";

function databaseFile(context) {
  const folder = mkdtempSync(join(tmpdir(), "better-auth-example-"));
  context.after(() => rmSync(folder, { recursive: true }));
  return join(folder, "auth.db");
}

for (const algorithm of ALGORITHMS.filter((name) => name !== "HS256")) {
  test(`${algorithm} tokens name the user and verify against the published keys`, async (context) => {
    const service = await startService(context, { JWT_ALGORITHM: algorithm });
    const alice = await signUp(service);
    const token = await tokenOf(service, alice);
    const keys = createLocalJWKSet(await keySet(service));
    const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer: service.origin, audience: service.origin });
    assert.equal(protectedHeader.alg, algorithm);
    assert.equal(payload.sub, alice.id);
    assert.deepEqual(Object.keys(payload).sort(), ["aud", "email", "exp", "iat", "iss", "sub"]);
    assert.equal(payload.exp - payload.iat, 900);
  });
}

test("HS256 tokens are signed with the bytes of the secret, and there is no key set", async (context) => {
  const service = await startService(context, { JWT_ALGORITHM: "HS256" });
  const alice = await signUp(service);
  const token = await tokenOf(service, alice);
  const { payload } = await jwtVerify(token, Buffer.from(SECRET), { issuer: service.origin, audience: service.origin });
  assert.equal(payload.sub, alice.id);
  assert.equal((await fetch(`${service.url}/api/auth/jwks`)).status, 404);
});

test("issuer and audience are the configured origin, whatever address was asked", async (context) => {
  const service = await startService(context, { BETTER_AUTH_URL: "https://app.example" });
  const token = await tokenOf(service, await signUp(service));
  const { iss, aud } = decodeJwt(token);
  assert.deepEqual([iss, aud], ["https://app.example", "https://app.example"]);
});

test("the origin is localhost and the port listened on where nothing else is said", async (context) => {
  const service = await startService(context);
  assert.equal(service.origin, `http://localhost:${new URL(service.url).port}`);
});

test("first visitors at the same time share one key", async (context) => {
  const service = await startService(context);
  const alice = await signUp(service);
  const tokens = await Promise.all(Array.from({ length: 8 }, () => tokenOf(service, alice)));
  assert.equal(new Set(tokens.map((token) => decodeProtectedHeader(token).kid)).size, 1);
  assert.equal((await keySet(service)).keys.length, 1);
});

test("a key is replaced after its time, and its tokens verify through the grace period", async (context) => {
  const service = await startService(context, { ROTATION_SECONDS: "1", GRACE_SECONDS: "60" });
  const alice = await signUp(service);
  const old = await tokenOf(service, alice);
  const kid = (token) => decodeProtectedHeader(token).kid;
  let fresh = old;
  // Rotation is lazy: the first token asked for after the interval gets the new key.
  for (const end = Date.now() + 10_000; kid(fresh) === kid(old) && Date.now() < end; ) fresh = await tokenOf(service, alice);
  assert.notEqual(kid(fresh), kid(old));
  const keys = createLocalJWKSet(await keySet(service));
  for (const token of [old, fresh]) await jwtVerify(token, keys, { issuer: service.origin });
});

test("another algorithm signs at once, also with a store that holds keys of the old one", async (context) => {
  const DATABASE = databaseFile(context);
  const before = await startService(context, { DATABASE });
  const alice = await signUp(before);
  const old = await tokenOf(before, alice);
  await before.stop();
  const service = await startService(context, { DATABASE, JWT_ALGORITHM: "ES256" });
  const fresh = await tokenOf(service, alice);
  assert.equal(decodeProtectedHeader(fresh).alg, "ES256");
  const keys = createLocalJWKSet(await keySet(service));
  for (const token of [old, fresh]) await jwtVerify(token, keys);
});

test("another secret on an old store ends every session and signs with keys of its own", async (context) => {
  const DATABASE = databaseFile(context);
  const before = await startService(context, { DATABASE });
  const alice = await signUp(before);
  const old = await tokenOf(before, alice);
  await before.stop();
  const service = await startService(context, { DATABASE, BETTER_AUTH_SECRET: `${SECRET} and another` });
  assert.equal(await tokenOf(service, alice), undefined);
  const fresh = await tokenOf(service, await signUp(service, "bob"));
  const keys = createLocalJWKSet(await keySet(service));
  await jwtVerify(fresh, keys);
  await assert.rejects(jwtVerify(old, keys), { code: "ERR_JWKS_NO_MATCHING_KEY" });
});
