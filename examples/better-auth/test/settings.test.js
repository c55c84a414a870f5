import assert from "node:assert/strict";
import test from "node:test";
import { readSettings, SettingsError } from "../src/settings.js";
import { runToExit, SECRET } from "./kit.js";

function faultsOf(environment) {
  try {
    readSettings(environment);
    return [];
  } catch (fault) {
    assert.ok(fault instanceof SettingsError, String(fault));
    return fault.faults;
  }
}

test("a secret alone is enough", () => {
  assert.deepEqual(readSettings({ BETTER_AUTH_SECRET: SECRET }), {
    secret: SECRET,
    host: "127.0.0.1",
    port: 3000,
    origin: undefined,
    apiOrigin: undefined,
    database: "better-auth.db",
    algorithm: "EdDSA",
    rotationSeconds: undefined,
    graceSeconds: 3600,
    rateLimit: true,
  });
});

test("an empty variable counts as an unset one", () => {
  assert.equal(readSettings({ BETTER_AUTH_SECRET: SECRET, PORT: "", JWT_ALGORITHM: "" }).port, 3000);
});

test("each variable refuses what it cannot mean", () => {
  const refused = {
    BETTER_AUTH_SECRET: ["", "short", "x".repeat(31), "better-auth-secret-12345678901234567890"],
    PORT: ["-1", "65536", "80.5", "0x50", " 80", "http"],
    BETTER_AUTH_URL: ["app.example", "ftp://app.example", "https://app.example/api/auth", "https://u:p@app.example", "https://"],
    API_ORIGIN: ["/api", "https://api.example/?a", "https://api.example/#a", "*", "https://a.example; script-src *"],
    JWT_ALGORITHM: ["none", "eddsa", "HS512", "ES384"],
    ROTATION_SECONDS: ["0", "1h"],
    GRACE_SECONDS: ["-1", "1e3"],
    RATE_LIMIT: ["yes", "0"],
  };
  for (const [name, values] of Object.entries(refused)) {
    for (const value of values) {
      const faults = faultsOf({ BETTER_AUTH_SECRET: SECRET, [name]: value });
      assert.equal(faults.length, 1, `${name}=${value}`);
      assert.ok(faults[0].startsWith(`${name} `), faults[0]);
    }
  }
});

test("an origin is taken with or without its final slash, as the same text", () => {
  for (const url of ["https://app.example", "https://app.example/", "https://APP.example:443"]) {
    assert.equal(readSettings({ BETTER_AUTH_SECRET: SECRET, BETTER_AUTH_URL: url }).origin, "https://app.example");
  }
});

test("all faults are told at once", () => {
  const faults = faultsOf({ PORT: "x", JWT_ALGORITHM: "none" });
  assert.deepEqual(faults.map((fault) => fault.split(" ")[0]), ["BETTER_AUTH_SECRET", "PORT", "JWT_ALGORITHM"]);
});

test("the service does not start without a secret of its own, and does not repeat a bad one", async () => {
  for (const secret of ["", "too-short-to-keep", "better-auth-secret-12345678901234567890"]) {
    const { code, stdout, stderr } = await runToExit({ BETTER_AUTH_SECRET: secret });
    assert.equal(code, 64);
    assert.equal(stdout, "");
    assert.match(stderr, /BETTER_AUTH_SECRET .*openssl rand/);
    assert.ok(secret === "" || !stderr.includes(secret));
  }
});
