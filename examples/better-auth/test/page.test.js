import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import test from "node:test";
import { Refusal } from "../public/assets/account.js";
import { Tasks } from "../public/assets/tasks.js";

/** An API that answers as told and keeps what it was asked. */
async function startApi(context, answer) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
    const { status, headers, body } = answer(request);
    response.writeHead(status, headers).end(body && JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => server.closeAllConnections());
  context.after(() => server.close());
  return { origin: `http://127.0.0.1:${server.address().port}`, asked };
}

function tokens() {
  let made = 0;
  return async () => `t${++made}`;
}

test("a token is kept while it is good and renewed when it is refused", async (context) => {
  let good = "t1";
  const api = await startApi(context, ({ headers }) =>
    headers.authorization === `Bearer ${good}` ? { status: 200, body: [] } : { status: 401 },
  );
  const tasks = new Tasks(api.origin, "alice", tokens());
  await tasks.list();
  await tasks.list();
  good = "t2";
  await tasks.list();
  assert.deepEqual(api.asked.map((line) => line.split(" ").at(-1)), ["t1", "t1", "t1", "t2"]);
});

test("a token that is refused when fresh is a refusal, with the words of the API", async (context) => {
  const body = { detail: "Not accepted here.", errors: [{ field: "title", message: "is missing" }] };
  const api = await startApi(context, () => ({ status: 401, body }));
  const refusal = await new Tasks(api.origin, "alice", tokens()).list().catch((fault) => fault);
  assert.ok(refusal instanceof Refusal);
  assert.deepEqual([refusal.status, refusal.message, refusal.errors], [401, body.detail, body.errors]);
  assert.equal(api.asked.length, 1);
});

test("each call asks what the contract of the task API says, and an odd user id stays one segment", async (context) => {
  const api = await startApi(context, ({ method }) =>
    method === "DELETE" ? { status: 204 } : { status: 200, body: { id: 7 } },
  );
  const tasks = new Tasks(api.origin, "a/b ü", tokens());
  await tasks.create({ title: "x" });
  await tasks.replace(7, { title: "y" });
  await tasks.complete(7, true);
  await tasks.delete(7);
  const base = "/api/a%2Fb%20%C3%BC/tasks";
  const expected = [`POST ${base}`, `PUT ${base}/7`, `PATCH ${base}/7/complete`, `DELETE ${base}/7`];
  assert.deepEqual(api.asked, expected.map((line) => `${line} Bearer t1`));
});

test("a long list is read page by page, as its Link header says", async (context) => {
  const api = await startApi(context, ({ url }) =>
    url.includes("?")
      ? { status: 200, body: [{ id: 2 }] }
      : { status: 200, body: [{ id: 1 }], headers: { Link: '</api/alice/tasks?after=1>; rel="next"' } },
  );
  const tasks = new Tasks(api.origin, "alice", tokens());
  const first = await tasks.list();
  const second = await tasks.list(first.next);
  assert.deepEqual([...first.tasks, ...second.tasks], [{ id: 1 }, { id: 2 }]);
  assert.equal(second.next, undefined);
});
