// Better Auth as this service uses it: e-mail and password, and JWTs for other services.

import { betterAuth } from "better-auth";
import { symmetricDecrypt } from "better-auth/crypto";
import { getMigrations } from "better-auth/db/migration";
import { createJwk, jwt } from "better-auth/plugins/jwt";
import { SignJWT } from "jose";

/**
 * Brings the tables up to what this version of Better Auth wants.
 *
 * @param {import("better-sqlite3").Database} database
 */
export async function migrate(settings, database) {
  const { runMigrations } = await getMigrations(authOptions(settings, database));
  await runMigrations();
}

/**
 * The sign-in service behind `/api/auth/`.
 *
 * @param {import("better-sqlite3").Database} database already migrated
 * @param {string} origin where browsers reach it; `iss` and `aud` of every token
 */
export function createAuth(settings, database, origin) {
  return betterAuth({ ...authOptions(settings, database), baseURL: origin });
}

/**
 * Makes the first key before the first visitor comes: of several first calls at once each would make its own. Also
 * makes one of the configured algorithm when the store holds only others, which would go on signing otherwise.
 */
export async function ensureSigningKey(settings, auth, database) {
  if (settings.algorithm === "HS256") return;
  const context = await auth.$context;
  await dropLockedKeys(context, database);
  const { keys } = await auth.api.getJwks();
  if (keys.some((key) => key.alg === settings.algorithm)) return;
  await createJwk({ context }, jwtOptions(settings));
}

/**
 * Private keys are stored encrypted. Those that this secret does not open sign nothing any more, but Better Auth would
 * go on choosing them, and every call for a token would fail.
 */
async function dropLockedKeys({ secretConfig, logger }, database) {
  for (const { id, privateKey } of database.prepare("SELECT id, privateKey FROM jwks").all()) {
    try {
      await symmetricDecrypt({ key: secretConfig, data: JSON.parse(privateKey) });
    } catch {
      database.prepare("DELETE FROM jwks WHERE id = ?").run(id);
      logger.warn(`Dropped signing key ${id}: it was made with another BETTER_AUTH_SECRET. Everybody has to sign in again.`);
    }
  }
}

function authOptions(settings, database) {
  return {
    database,
    secret: settings.secret,
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: settings.rateLimit },
    telemetry: { enabled: false },
    plugins: [jwt(jwtOptions(settings))],
  };
}

function jwtOptions(settings) {
  return {
    // Without this the whole user goes into every token, a picture of any size included.
    jwt: { definePayload: ({ user }) => ({ email: user.email }), ...sharedSecretSigner(settings) },
    jwks: settings.algorithm === "HS256" ? NO_KEY_SET : keySet(settings),
    disableSettingJwtHeader: true,
  };
}

function keySet({ algorithm, rotationSeconds, graceSeconds }) {
  return {
    keyPairConfig: { alg: algorithm },
    ...(rotationSeconds && { rotationInterval: rotationSeconds, gracePeriod: graceSeconds }),
  };
}

/** The plugin takes a signer of one's own only together with a remote key set; nobody fetches this one. */
const NO_KEY_SET = { remoteUrl: "https://key-set.invalid", keyPairConfig: { alg: "HS256" } };

/** The plugin itself has no HS256: options that seem to ask for it are ignored and give EdDSA. */
function sharedSecretSigner({ algorithm, secret }) {
  if (algorithm !== "HS256") return {};
  const key = new TextEncoder().encode(secret);
  const header = { alg: "HS256", typ: "JWT" };
  return { sign: (claims) => new SignJWT(claims).setProtectedHeader(header).sign(key) };
}
