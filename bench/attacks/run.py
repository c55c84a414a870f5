#!/usr/bin/env python3
"""Honest users' latency before and during attacks on the listener, what a flood past the cap gets, and what an idle
connection costs.

    python3 bench/attacks/run.py target/release/ownergate

Starts the proxy and a backend on loopback, and ends within three minutes.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import multiprocessing
import os
import pathlib
import resource
import socket
import subprocess
import tempfile
import time

SECRET = b"a secret of at least thirty-two bytes, for measuring"
SLOW = 200
HONEST = 8
SECONDS = 8
CAP = 12_000


def token(user):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = json.dumps({"sub": user, "exp": int(time.time()) + 3600}).encode()
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(claims)
    return (signed + b"." + part(hmac.new(SECRET, signed, hashlib.sha256).digest())).decode()


def request(path="/api/alice/x", rest=""):
    return f"GET {path} HTTP/1.1\r\nHost: app\r\nAuthorization: Bearer {TOKEN}\r\n{rest}\r\n".encode()


TOKEN = token("alice")
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


async def honest(port, samples, until):
    """Asks twenty times a second over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        started = time.monotonic()
        writer.write(request())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        await reader.readexactly(2)
        samples.append(time.monotonic() - started)
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


async def measured(name, port, process, attackers):
    used = processor_time(process)
    until = time.monotonic() + SECONDS
    samples = []
    attackers = in_process(attack, attackers, until)
    await asyncio.sleep(1)
    await asyncio.gather(*(honest(port, samples, until) for _ in range(HONEST)))
    attackers.kill()
    attackers.join()
    used = (processor_time(process) - used) / SECONDS
    waits = f"p50 {percentile(samples, 0.5):6.2f} ms   p99 {percentile(samples, 0.99):6.2f} ms"
    print(f"{name:14} {len(samples):6} requests   {waits}   {used:5.1%} of a core")


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
    print(f"{count} idle connections: {(anonymous() - before) / count:.1f} KiB each, {anonymous() / 1024:.0f} MiB in all")
    return warm + held


async def flood(port, count):
    """Connections past the cap: how long each waits for its 503."""
    waits, codes = [], {}
    for _ in range(count):
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status = (await reader.readline())[9:12].decode()
        waits.append(time.monotonic() - started)
        codes[status] = codes.get(status, 0) + 1
        writer.close()
    print(f"{count} past the cap: {codes}, p50 {percentile(waits, 0.5):.2f} ms, p99 {percentile(waits, 0.99):.2f} ms")


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
    print(f"start to first answer: fastest {min(times) * 1000:.1f} ms, p50 {percentile(times, 0.5):.1f} ms")


async def main(binary, idle):
    # What is slow to read has a backend of its own: its work is not the proxy's.
    ports = {}
    for name in ["app", "big"]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        ports[name] = listener.getsockname()[1]
        in_process(serve_backend, listener)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "secret").write_bytes(SECRET)
        (folder / "o.toml").write_text(
            f'[[issuer]]\nsecret_file = "secret"\n[upstream.app]\nurl = "http://127.0.0.1:{ports["app"]}"\n'
            f'[upstream.big]\nurl = "http://127.0.0.1:{ports["big"]}"\n'
            '[[route]]\npath = "/api/{user_id}/x"\naccess = { owner = "user_id" }\nupstream = "app"\n'
            '[[route]]\npath = "/api/{user_id}/big"\naccess = { owner = "user_id" }\nupstream = "big"\n'
            f'[log]\nlevel = "error"\n[limits]\nconnections = {CAP}\n[timeouts]\nkeep_alive = 600\n'
        )
        await start_up(binary, folder, 15)
        port = 28190
        process = subprocess.Popen(
            [binary, "--config", folder / "o.toml", "--listen", f"127.0.0.1:{port}", "--admin", "off", "--workers", "1"]
        )
        try:
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.01)
            head = b"GET /api/alice/x HTTP/1.1\r\nHost: app\r\nX-Slow: "
            body = request(rest="Content-Length: 1000000\r\n").replace(b"GET", b"POST", 1)
            await measured("quiet", port, process, [])
            for name, attacker in [
                ("slow heads", lambda until: trickle(port, head, until)),
                ("slow bodies", lambda until: trickle(port, body, until)),
                ("slow readers", lambda until: slow_reader(port, until)),
            ]:
                await measured(name, port, process, [attacker] * SLOW)
                await measured("quiet again", port, process, [])
            held = await idle_memory(port, process, idle)
            if idle + 20 < CAP:
                for _ in range(CAP - idle - 20):
                    held.append((await asyncio.open_connection("127.0.0.1", port))[1])
            await flood(port, 500)
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("--idle", type=int, default=10_000)
    given = arguments.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main(given.binary, given.idle))
