#!/usr/bin/env python3
"""What callers get while an upstream is offered ten times what it can do, without a cap on its requests and with one.

    python3 bench/attacks/overload.py target/release/ownergate

Needs the packages of ../proxy/requirements.txt.
The upstream works on 8 requests at a time, each for 50 ms, and keeps the others waiting in the order in which they came.
Requests are sent at their time, whether or not earlier ones have been answered, and each one's wait counts from then.
Everything is on loopback; the run without a cap takes until all that piled up is answered, which is some forty seconds.
"""

import argparse
import asyncio
import pathlib
import resource
import socket
import subprocess
import tempfile
import time

from run import ISSUER, in_process, key_set, percentile, request

AT_ONCE, WORK = 8, 0.05
TIMES = 10
SECONDS = 4
PORT = 28180
# None; what the upstream works on; and as much as it has done within half a second.
CAPS = [0, AT_ONCE, int(AT_ONCE / WORK / 2)]


async def serve_backend(listener):
    places = asyncio.Semaphore(AT_ONCE)

    async def serve(reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                async with places:
                    await asyncio.sleep(WORK)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, sock=listener)
    await server.serve_forever()


class Crowd:
    """Callers who do not wait for each other."""

    def __init__(self):
        self.idle = []
        self.waits = {}
        self.late = []

    async def come(self):
        rate = TIMES * AT_ONCE / WORK
        started = time.monotonic()
        callers = []
        for number in range(int(rate * SECONDS)):
            due = started + number / rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
            self.late.append(time.monotonic() - due)
            callers.append(asyncio.create_task(self.ask(due)))
        await asyncio.gather(*callers)

    async def ask(self, due):
        """Asks over a connection that nobody uses at the moment, or over a new one."""
        status = "closed"
        try:
            reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", PORT)
            writer.write(request())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            status = head[9:12]
            self.idle.append((reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self.waits.setdefault(status, []).append(time.monotonic() - due)

    def report(self, cap):
        print(f"{f'requests = {cap}' if cap else 'no cap'}: callers came up to {max(self.late) * 1000:.0f} ms late")
        for status, waits in sorted(self.waits.items()):
            spread = f"p50 {percentile(waits, 0.5):8.1f} ms   p99 {percentile(waits, 0.99):8.1f} ms"
            print(f"  {status:6} {len(waits):5}   {spread}   longest {max(waits) * 1000:8.1f} ms")


async def accepts():
    for _ in range(500):
        try:
            (await asyncio.open_connection("127.0.0.1", PORT))[1].close()
            return
        except OSError:
            await asyncio.sleep(0.01)
    raise TimeoutError("the proxy does not listen")


async def main(binary):
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    in_process(serve_backend, listener)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "keys.json").write_text(key_set())
        for cap in CAPS:
            (folder / "o.toml").write_text(
                f'{ISSUER}[log]\nlevel = "error"\n'
                f'[upstream.app]\nurl = "http://127.0.0.1:{listener.getsockname()[1]}"\nrequests = {cap}\n'
            )
            arguments = ["--config", folder / "o.toml", "--listen", f"127.0.0.1:{PORT}", "--admin", "off", "--workers", "1"]
            process = subprocess.Popen([binary, *arguments])
            try:
                await accepts()
                crowd = Crowd()
                await crowd.come()
                crowd.report(cap)
            finally:
                process.kill()
                process.wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    given = arguments.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main(given.binary))
