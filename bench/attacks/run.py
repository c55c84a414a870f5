#!/usr/bin/env python3
"""Honest users' latency before and during attacks on the listener, what a flood past the cap gets, and what an idle
connection costs.

    cargo build --release -p ownergate && bench/attacks/run.py target/release/ownergate

Needs wrk and the packages of ../proxy/requirements.txt. Starts the proxy, with one worker on core 0, and backends, users
and attackers on core 1, all on loopback; ends within four minutes and writes ../results/attacks.md. With --only it measures
the attacks of that name alone, in so many rounds, tells their sum, and writes nothing:

    bench/attacks/run.py target/release/ownergate --only tokens --rounds 3

Honest users send tokens that are known, and now and then one that was never seen. A forged token has the right form and
the right key's name, so that nothing but its signature can tell; as no failure is remembered, each is as good as new.
"""

import argparse
import asyncio
import base64
import itertools
import json
import multiprocessing
import os
import pathlib
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BENCH = pathlib.Path(__file__).parent.parent
KEY, ORIGIN = Ed25519PrivateKey.generate(), "http://localhost:3000"
ISSUER = f'[[issuer]]\njwks = "keys.json"\nissuer = "{ORIGIN}"\naudience = "{ORIGIN}"\n'
PROXY_CORE, OTHERS_CORE = 0, 1
SLOW = 200
FLOOD = 32
FORGED = 20_000
HONEST = 8
# Of an honest user's requests, one in so many has a token that was never seen.
NEW = 8
SECONDS = 8
CAP = 12_000


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(number=0):
    now = int(time.time())
    claims = {"sub": "alice", "iss": ORIGIN, "aud": ORIGIN, "iat": now, "exp": now + 3600, "jti": str(number)}
    return jwt.encode(claims, KEY, "EdDSA", {"kid": "k"})


def key_set():
    raw = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encoded(raw)}]})


def forged(signed):
    """The message under a signature that takes the whole computation to refuse: its number is below the group's order."""
    return f"{signed}.{encoded(os.urandom(63) + bytes([os.urandom(1)[0] & 0x0F]))}"


def write_floods(folder):
    signed = TOKEN.rsplit(".", 1)[0]
    for name, one in [("forged", lambda: forged(signed)), ("garbage", lambda: encoded(os.urandom(200)))]:
        (folder / name).write_text("".join(f"/api/alice/x\t{one()}\n" for _ in range(FORGED)))


def request(path="/api/alice/x", rest="", bearer=None):
    return f"GET {path} HTTP/1.1\r\nHost: app\r\nAuthorization: Bearer {bearer or TOKEN}\r\n{rest}\r\n".encode()


TOKEN = token()
# Enough for every measurement: signing while measuring would be measured.
FRESH = map(token, range(1, 1 << 30))
PIECE, PIECES = b"x" * (64 << 10), 64


def in_process(work, *arguments):
    """Does asynchronous work in a process of its own, so that this one has nothing to do but to measure."""
    process = multiprocessing.Process(target=lambda: asyncio.run(work(*arguments)), daemon=True)
    process.start()
    return process


async def serve_backend(listener):
    server = await asyncio.start_server(backend, sock=listener)
    await server.serve_forever()


async def attack(attackers, until):
    await asyncio.gather(*(attacker(until) for attacker in attackers))


async def backend(reader, writer):
    """Answers `ok`, or four megabytes to a path that ends in `big`; reads bodies of a known length."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if length:
                await reader.readexactly(int(length[0].split(b":")[1]))
            pieces = [PIECE] * PIECES if b"/big " in head.split(b"\r\n")[0] else [b"ok"]
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % sum(map(len, pieces))
            # In one piece: a second small one would wait for the first one's acknowledgement.
            for piece in [head + pieces[0], *pieces[1:]]:
                writer.write(piece)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def honest(port, fresh, known, new, failures, until):
    """Asks twenty times a second over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in itertools.count():
        if time.monotonic() > until:
            break
        bearer, samples = (fresh.pop(), new) if number % NEW == NEW - 1 and fresh else (TOKEN, known)
        asked = request(bearer=bearer)
        started = time.monotonic()
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
        samples.append(time.monotonic() - started)
        if not head.startswith(b"HTTP/1.1 200 "):
            failures.append(head[9:12].decode())
        await asyncio.sleep(0.05)
    writer.close()


async def trickle(port, begin, until):
    """Sends a beginning, then a byte a second."""
    while time.monotonic() < until:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begin)
            while time.monotonic() < until:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)
            writer.close()
        except ConnectionError:
            await asyncio.sleep(0.1)


async def slow_reader(port, until):
    """Asks for megabytes and reads a kilobyte a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2048)
    writer.write(request("/api/alice/big"))
    try:
        while time.monotonic() < until:
            if not await reader.read(1024):
                break
            await asyncio.sleep(1)
    except ConnectionError:
        pass
    writer.close()


def percentile(samples, share):
    return sorted(samples)[int(len(samples) * share)] * 1000


def processor_time(process):
    """Seconds of user and system time."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def flood(port, path):
    """Requests with the tokens of a file over so many connections, each as soon as the last is answered."""
    command = ["wrk", "-t1", f"-c{FLOOD}", f"-d{SECONDS}s", "-s", BENCH / "proxy/load.lua", f"http://127.0.0.1:{port}/", "--", path, "0"]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


def rate(flood):
    """Requests a second that a flood got answered."""
    figures = json.loads(re.search(r"FIGURES (.*)", flood.communicate()[0])[1])
    return figures["requests"] * 1e6 / figures["microseconds"]


class Bench:
    """The proxy under attack, and what was measured of it."""

    def __init__(self, port, process):
        self.port, self.process, self.rows, self.quiet = port, process, [], None
        self.known = {}

    async def measure(self, name, attackers=(), floods=()):
        fresh = [next(FRESH) for _ in range(HONEST * SECONDS * 20 // NEW)]
        used, until = processor_time(self.process), time.monotonic() + SECONDS
        known, new, failures = [], [], []
        attackers = in_process(attack, attackers, until)
        floods = [flood(self.port, path) for path in floods]
        await asyncio.sleep(1)
        await asyncio.gather(*(honest(self.port, fresh, known, new, failures, until) for _ in range(HONEST)))
        used = (processor_time(self.process) - used) / SECONDS
        attackers.kill()
        attackers.join()
        rates = " + ".join(f"{rate(flood):,.0f}" for flood in floods) or "–"
        self.tell(name, known, new, failures, rates, used)

    def tell(self, name, known, new, failures, rates, used):
        self.known.setdefault(name, []).extend(known)
        p99 = percentile(known, 0.99)
        self.quiet = p99 if name == "quiet" else self.quiet
        waits = [percentile(samples, share) for samples in (known, new) for share in (0.5, 0.99)]
        row = [name, f"{len(known) + len(new)}", *(f"{wait:.2f}" for wait in waits), f"{p99 / self.quiet:.1f}"]
        self.rows.append([*row, ", ".join(sorted(failures)) or "none", rates, f"{used:.0%}"])
        print("  ".join(self.rows[-1]), flush=True)

    def tell_sum(self):
        """Known tokens over all rounds."""
        quiet = percentile(self.known["quiet"], 0.99)
        for name, known in self.known.items():
            p50, p99 = (percentile(known, share) for share in (0.5, 0.99))
            print(f"{name}: {len(known)} requests, p50 {p50:.2f} ms, p99 {p99:.2f} ms, to quiet {p99 / quiet:.1f}")

    def table(self, facts):
        heads = ["", "requests", "known p50 ms", "p99 ms", "new p50 ms", "p99 ms", "known p99 to quiet", "failed", "attackers' requests/s", "of a core"]
        lines = ["| " + " | ".join(row) + " |" for row in [heads, ["---"] + ["---:"] * (len(heads) - 1), *self.rows]]
        conditions = (
            f"{time.strftime('%Y-%m-%d')}, {processor()}, load average before the run {LOAD:.1f}; one worker on a core of its own, "
            f"{HONEST} honest connections at 20 requests a second, each attack and each quiet time for {SECONDS} s."
        )
        return "\n".join(["# Honest users under attack", "", conditions, "", *lines, "", *(f"- {fact}" for fact in facts), ""])


async def idle_memory(port, process, count):
    """Anonymous memory of the proxy for each of so many connections that have been served once and are idle."""

    def anonymous():
        lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1])

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        await reader.readuntil(b"\r\n\r\nok")
        return writer

    warm = [await one() for _ in range(20)]
    await asyncio.sleep(3)
    before = anonymous()
    held = [await one() for _ in range(count)]
    await asyncio.sleep(4)
    fact = f"{count:,} idle connections: {(anonymous() - before) / count:.1f} KiB each, {anonymous() / 1024:.0f} MiB in all"
    return fact, warm + held


async def past_the_cap(port, count):
    """Connections past the cap: how long each waits for its 503."""
    waits, codes = [], {}
    for _ in range(count):
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status = (await reader.readline())[9:12].decode()
        waits.append(time.monotonic() - started)
        codes[status] = codes.get(status, 0) + 1
        writer.close()
    codes = ", ".join(f"{number} got {status}" for status, number in codes.items())
    return f"Past the cap of connections, {codes}: p50 {percentile(waits, 0.5):.2f} ms, p99 {percentile(waits, 0.99):.2f} ms"


async def start_up(binary, folder, count):
    """From the start of the process to its first answer."""
    times = []
    for place in range(count):
        port = 28200 + place
        started = time.monotonic()
        process = subprocess.Popen([binary, "--config", folder / "o.toml", "--listen", f"127.0.0.1:{port}", "--admin", "off"])
        try:
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0)
            writer.write(request())
            await reader.readuntil(b"\r\n\r\n")
            times.append(time.monotonic() - started)
        finally:
            process.kill()
            process.wait()
    return f"From start to first answer: fastest {min(times) * 1000:.1f} ms, p50 {percentile(times, 0.5):.1f} ms"


def processor():
    found = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else "an unknown processor"


def write_configuration(folder, ports):
    (folder / "keys.json").write_text(key_set())
    (folder / "o.toml").write_text(
        f'{ISSUER}[upstream.app]\nurl = "http://127.0.0.1:{ports["app"]}"\n[upstream.big]\nurl = "http://127.0.0.1:{ports["big"]}"\n'
        '[[route]]\npath = "/api/{user_id}/x"\naccess = { owner = "user_id" }\nupstream = "app"\n'
        '[[route]]\npath = "/api/{user_id}/big"\naccess = { owner = "user_id" }\nupstream = "big"\n'
        f'[log]\nlevel = "error"\n[limits]\nconnections = {CAP}\n[timeouts]\nkeep_alive = 600\n'
    )


def choose(port, folder, only):
    """The attacks whose names have this in them, each with its slow clients and its floods."""
    head = b"GET /api/alice/x HTTP/1.1\r\nHost: app\r\nX-Slow: "
    body = request(rest="Content-Length: 1000000\r\n").replace(b"GET", b"POST", 1)
    slow = {
        "slow heads": lambda until: trickle(port, head, until),
        "slow bodies": lambda until: trickle(port, body, until),
        "slow readers": lambda until: slow_reader(port, until),
    }
    forged, garbage = folder / "forged", folder / "garbage"
    floods = {"forged": [forged], "garbage": [garbage], "forged + garbage": [forged, garbage]}
    chosen = [(f"{SLOW} {name}", [attacker] * SLOW, []) for name, attacker in slow.items()]
    chosen += [(f"{FLOOD} {name} tokens", [], paths) for name, paths in floods.items()]
    chosen.append(("slow heads and both floods", [slow["slow heads"]] * SLOW, [forged, garbage]))
    names = [name for name, *_ in chosen]
    return [one for one in chosen if only in one[0]] or sys.exit(f'no attack has "{only}" in its name: {", ".join(names)}')


async def attacks(bench, chosen):
    """Each attack after a quiet time."""
    for name, attackers, paths in chosen:
        await bench.measure("quiet")
        await bench.measure(name, attackers, paths)


async def main(binary, idle, only, rounds):
    os.sched_setaffinity(0, {OTHERS_CORE})
    # What is slow to read has a backend of its own: its work is not the proxy's.
    ports = {}
    for name in ["app", "big"]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        ports[name] = listener.getsockname()[1]
        in_process(serve_backend, listener)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_configuration(folder, ports)
        write_floods(folder)
        port = 28190
        chosen = choose(port, folder, only)
        facts = [] if only else [await start_up(binary, folder, 15)]
        flags = ["--listen", f"127.0.0.1:{port}", "--admin", "off", "--workers", "1"]
        process = subprocess.Popen(["taskset", "-c", str(PROXY_CORE), binary, "--config", folder / "o.toml", *flags])
        try:
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.01)
            bench = Bench(port, process)
            for _ in range(rounds):
                await attacks(bench, chosen)
            if only:
                return bench.tell_sum()
            fact, held = await idle_memory(port, process, idle)
            if idle + 20 < CAP:
                for _ in range(CAP - idle - 20):
                    held.append((await asyncio.open_connection("127.0.0.1", port))[1])
            facts += [fact, await past_the_cap(port, 500)]
        finally:
            process.kill()
            process.wait()
    (BENCH / "results").mkdir(exist_ok=True)
    (BENCH / "results/attacks.md").write_text(bench.table(facts))
    print(bench.table(facts))


LOAD = os.getloadavg()[0]

if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("--idle", type=int, default=10_000)
    arguments.add_argument("--only", default="", help="measure the attacks whose names have this in them")
    arguments.add_argument("--rounds", type=int, default=1, help="of those")
    given = arguments.parse_args()
    if given.rounds != 1 and not given.only:
        arguments.error("--rounds goes with --only: all attacks are measured once")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main(given.binary, given.idle, given.only, given.rounds))
