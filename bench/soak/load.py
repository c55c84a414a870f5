"""What users ask, and whether the answers are theirs."""

import asyncio
import json
import random
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field

from backend import some_bytes
from clients import Broken, Multiplexed, Plain
from issuer import LIFETIME

USERS = [f"user-{number:02}" for number in range(50)]
# Of each, how many at once.
MULTIPLEXED, SOCKETS, STREAMS = 3, 5, 5
OVER_HTTP2 = 0.08
# Requests that may wait for their answers.
WAITING = 120
# Seconds for which a new key may be unknown to the proxy: a few failed fetches, each with its time limit and its pause.
NEWS = 45
# Seconds for which a changed file may not be in force yet.
RELOAD = 8


@dataclass
class Request:
    kind: str
    user: str
    method: str
    path: str
    headers: list
    body: bytes = b""
    chunked: bool = False
    expected: tuple = (200,)
    codes: tuple = ()
    key_age: float = 0.0
    began: float = field(default_factory=time.monotonic)


class Load:
    """Sends requests at a rate, whether or not the ones before are answered, and counts what came of them."""

    def __init__(self, port, rate, issuer, backends, extra):
        self.rate, self.issuer, self.backends, self.extra = rate, issuer, backends, extra
        self.port, self.idle, self.tasks = port, [], set()
        self.multiplexed = [Multiplexed(port) for _ in range(MULTIPLEXED)]
        self.tokens, self.waits = {}, []
        self.expired = {user: issuer.token(user, lifetime=-60) for user in USERS}
        self.counts, self.errors, self.oldest_news = Counter(), [], 0.0

    async def run(self, until):
        held = [asyncio.create_task(self.hold(kind, until)) for kind in ["socket"] * SOCKETS + ["stream"] * STREAMS]
        due = time.monotonic()
        while (due := due + random.expovariate(self.rate)) < until:
            await asyncio.sleep(max(0, due - time.monotonic()))
            if len(self.tasks) >= WAITING:
                self.counts["not sent: too many wait"] += 1
                continue
            task = asyncio.create_task(self.one(self.request()))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        await asyncio.gather(*self.tasks, *held)

    def token(self, user):
        """The user's token while it is good for some time, or now and then a new one; and its key's age."""
        token, until, born = self.tokens.get(user, (None, 0, 0))
        if time.monotonic() > until or random.random() < 0.03:
            token, born = self.issuer.token(user), self.issuer.keys[0].born
            self.tokens[user] = (token, time.monotonic() + LIFETIME / 2, born)
        return token, time.monotonic() - born

    def request(self):
        user, place = random.choice(USERS), random.random()
        token, age = self.token(user)
        bearer, path = [("Authorization", f"Bearer {token}")], f"/api/{user}/things/{random.randrange(1000)}"
        if place < 0.55:
            return Request("read", user, random.choice(["GET", "GET", "GET", "HEAD", "DELETE"]), path, bearer, key_age=age)
        if place < 0.80:
            method, chunked = random.choice(["POST", "POST", "PUT"]), random.random() < 0.4
            return Request("write", user, method, path, bearer, some_bytes(100_000), chunked, key_age=age)
        if place < 0.90:
            return Request("public", "-", "GET", "/public/page", [])
        if place < 0.93:
            return self.on_changing_route(user, bearer, age)
        if place < 0.931:
            return self.under_unknown_key(user, path)
        return self.refused(user, token, path, age)

    def on_changing_route(self, user, bearer, age):
        there, since = self.extra
        expected = (200, 404) if time.monotonic() - since < RELOAD else (200,) if there else (404,)
        return Request("changing route", user, "GET", "/extra/page", bearer, expected=expected, key_age=age)

    def refused(self, user, token, path, age):
        other = f"/api/{random.choice([name for name in USERS if name != user])}/things/1"
        status, code, path, token = random.choice([
            (401, "signature_invalid", path, self.issuer.forged(user)),
            (401, "signature_invalid", path, token[:-20] + "A" * 20),
            (401, "token_expired", path, self.expired[user]),
            (401, "token_malformed", path, "garbage"),
            (401, "token_missing", path, None),
            (403, "not_owner", other, token),
        ])
        bearer = [("Authorization", f"Bearer {token}")] if token else []
        return Request("refused", "-", "GET", path, bearer, expected=(status,), codes=(code,), key_age=min(age, self.issuer.age()))

    def under_unknown_key(self, user, path):
        """It causes a fetch, if none was a moment ago; when that fails, nobody can say what the token is worth."""
        bearer = [("Authorization", f"Bearer {self.issuer.token(user, name='nobody')}")]
        return Request("refused", "-", "GET", path, bearer, expected=(401, 503), codes=("key_unknown", "keys_unavailable"))

    async def one(self, request):
        client = self.client()
        request.body = request.body[: client.largest]
        try:
            answer = await client.ask(request.method, request.path, request.headers, request.body, request.chunked)
            self.waits.append(time.monotonic() - request.began)
            self.judge(request, answer)
        except (Broken, OSError, ValueError) as fault:
            self.tell(request, f"{type(fault).__name__} {fault}")
        finally:
            if isinstance(client, Plain):
                self.idle.append(client)

    def client(self):
        if random.random() < OVER_HTTP2:
            return random.choice(self.multiplexed)
        return self.idle.pop() if self.idle else Plain(self.port)

    def judge(self, request, answer):
        """Counts an answer, or tells what is wrong with it."""
        problem = answer.status >= 400 and answer.body[:1] == b"{"
        code = json.loads(answer.body)["code"] if problem else None
        if answer.status not in request.expected or request.codes and code not in request.codes:
            return self.tell(request, f"{answer.status} {code} {answer.headers.get('x-request-id')}", code)
        if answer.status not in (101, 200):
            self.counts[f"refused as it should be: {code or answer.status}"] += 1
            return
        if answer.headers.get("x-caller") != request.user:
            return self.tell(request, f"ANOTHER CALLER: {answer.headers.get('x-caller')}")
        if request.kind not in ("socket", "stream") and not self.is_whole(request, answer):
            return self.tell(request, "a body is not what was sent")
        self.counts[f"answered: {request.kind}"] += 1

    def is_whole(self, request, answer):
        received = answer.headers["x-received"] == str(zlib.crc32(request.body))
        return received and (request.method == "HEAD" or answer.headers["x-sent"] == str(zlib.crc32(answer.body)))

    def stopped(self, request):
        """Whether a backend went away while the request was under way."""
        stops = [stop for backend in self.backends for stop in backend.stops]
        return any(request.began - 0.1 <= stop <= time.monotonic() for stop in stops)

    def tell(self, request, what, code=None):
        """An answer that is not the expected one: what the surroundings explain is counted apart."""
        # An answer to HEAD has no body that says more than its status.
        keyless = code in ("key_unknown", "keys_unavailable") or request.method == "HEAD" and what[:4] in ("401 ", "503 ")
        if request.key_age < NEWS and request.user != "-" and keyless:
            self.oldest_news = max(self.oldest_news, request.key_age)
            self.counts["explained: the issuer has changed its key just now"] += 1
        elif request.codes and request.key_age < NEWS and keyless:
            self.counts["refused as it should be: a forged token under a key that is not fetched yet"] += 1
        elif request.kind == "write" and code == "upstream_broken" and self.stopped(request):
            self.counts["explained: its backend went away with a body under way"] += 1
        elif request.kind in ("socket", "stream") and self.stopped(request):
            self.counts[f"explained: its backend went away: {request.kind}"] += 1
        elif "Broken" in what and self.stopped(request):
            self.counts["explained: its backend was killed in the middle of an answer"] += 1
        else:
            took = time.monotonic() - request.began
            self.counts[f"ERROR: {request.kind}"] += 1
            self.errors.append(f"{time.strftime('%H:%M:%S')} {request.method} {request.path}: {what} after {took:.1f} s")
            print("ERROR", self.errors[-1], flush=True)

    async def hold(self, kind, until):
        """One WebSocket or stream after another."""
        while time.monotonic() + 60 < until:
            user, age = random.choice(USERS), self.issuer.age()
            bearer = [("Authorization", f"Bearer {self.issuer.token(user)}")]
            expected = (101 if kind == "socket" else 200,)
            await self.hold_one(Request(kind, user, "GET", f"/api/{user}/{kind}", bearer, expected=expected, key_age=age))
            await asyncio.sleep(random.uniform(1, 5))

    async def hold_one(self, request):
        client = Plain(self.port)
        try:
            if request.kind == "socket":
                answer = await client.socket(request.path, request.headers, 40)
            else:
                answer = await client.stream(request.path, request.headers)
            self.judge(request, answer)
        except (Broken, OSError, asyncio.IncompleteReadError) as fault:
            self.tell(request, f"Broken: {type(fault).__name__} {fault}")
