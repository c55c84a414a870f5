// Who is signed in: Better Auth's endpoints, by the session cookie that only it can read.

/** An answer that is a refusal, whoever gave it. Its message is fit for people. */
export class Refusal extends Error {
  /** @param {Response} response  @param {object} body problem+json, or Better Auth's `{ message, code }` */
  constructor(response, body) {
    super(body.detail ?? body.message ?? `The server answered ${response.status} ${response.statusText}`.trim());
    this.status = response.status;
    /** @type {{ field: string, message: string }[]} */
    this.errors = body.errors ?? [];
  }

  static async of(response) {
    return new Refusal(response, await response.json().catch(() => ({})));
  }
}

/** There is no session any more: it ran out, or was ended elsewhere. */
export class SessionEnded extends Error {
  constructor() {
    super("Your session has ended. Sign in again.");
  }
}

async function call(endpoint, body) {
  const request = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(`/api/auth/${endpoint}`, request);
  if (!response.ok) throw await Refusal.of(response);
  return response.json();
}

export const signUp = ({ name, email, password }) => call("sign-up/email", { name, email, password });
export const signIn = ({ email, password }) => call("sign-in/email", { email, password });
export const signOut = () => call("sign-out", {});

/** The user of the session, or undefined. */
export const currentUser = async () => (await call("get-session"))?.user;

/**
 * A fresh JWT, good for a quarter of an hour at any service that trusts this sign-in service.
 *
 * @throws {SessionEnded} when nobody is signed in
 */
export async function freshToken() {
  try {
    return (await call("token")).token;
  } catch (fault) {
    throw fault.status === 401 ? new SessionEnded() : fault;
  }
}
