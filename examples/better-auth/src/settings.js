// Environment → settings. Reads everything first and tells every fault at once.

/** What `JWT_ALGORITHM` may be. HS256 signs with the secret itself, the others with a key pair. */
export const ALGORITHMS = ["EdDSA", "ES256", "ES512", "RS256", "PS256", "HS256"];

/** The secret that Better Auth falls back to. Everybody knows it, so whoever runs with it has none. */
const PUBLIC_SECRET = "better-auth-secret-12345678901234567890";

const SECRET_BYTES = 32;
const MAKE_A_SECRET = "Make one: export BETTER_AUTH_SECRET=$(openssl rand -base64 32)";

/** The environment cannot be used; `faults` holds one sentence for each variable. */
export class SettingsError extends Error {
  constructor(faults) {
    super(faults.join("\n"));
    this.name = "SettingsError";
    this.faults = faults;
  }
}

/**
 * Reads the settings that README.md describes. An empty variable counts as an unset one.
 *
 * @param {Record<string, string | undefined>} environment
 * @throws {SettingsError} with all faults
 */
export function readSettings(environment) {
  const faults = [];
  const read = (name, fallback, parse) => {
    try {
      return parse(environment[name] || fallback);
    } catch (fault) {
      faults.push(`${name} ${fault.message}`);
    }
  };
  const settings = {
    secret: read("BETTER_AUTH_SECRET", "", secret),
    host: read("HOST", "127.0.0.1", String),
    port: read("PORT", "3000", wholeNumber(0, 65535)),
    origin: read("BETTER_AUTH_URL", undefined, optional(origin)),
    apiOrigin: read("API_ORIGIN", undefined, optional(origin)),
    database: read("DATABASE", "better-auth.db", String),
    algorithm: read("JWT_ALGORITHM", "EdDSA", oneOf(ALGORITHMS)),
    rotationSeconds: read("ROTATION_SECONDS", undefined, optional(wholeNumber(1, 2 ** 31))),
    graceSeconds: read("GRACE_SECONDS", "3600", wholeNumber(0, 2 ** 31)),
    rateLimit: read("RATE_LIMIT", "on", oneOf(["on", "off"])) === "on",
  };
  if (faults.length > 0) throw new SettingsError(faults);
  return Object.freeze(settings);
}

function secret(text) {
  if (text === "") throw new Error(`is not set. ${MAKE_A_SECRET}`);
  if (text === PUBLIC_SECRET) throw new Error(`is Better Auth's public default, known to everybody. ${MAKE_A_SECRET}`);
  const bytes = Buffer.byteLength(text);
  if (bytes < SECRET_BYTES) throw new Error(`has ${bytes} bytes; it needs at least ${SECRET_BYTES}. ${MAKE_A_SECRET}`);
  return text;
}

function wholeNumber(least, most) {
  return (text) => {
    const number = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
    if (!(number >= least && number <= most)) {
      throw new Error(`is "${text}"; it must be a whole number from ${least} to ${most}.`);
    }
    return number;
  };
}

function oneOf(choices) {
  return (text) => {
    if (!choices.includes(text)) throw new Error(`is "${text}"; it must be one of ${choices.join(", ")}.`);
    return text;
  };
}

/** Scheme, host and port: `iss`, `aud` and every trusted `Origin` are compared with it as text. */
function origin(text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!/^https?:$/.test(url?.protocol) || url.href !== `${url.origin}/`) {
    throw new Error(`is "${text}"; it must be an origin such as https://app.example, without a path.`);
  }
  return url.origin;
}

function optional(parse) {
  return (text) => (text === undefined ? undefined : parse(text));
}
