#!/usr/bin/env python3
"""Runs the proxy for a long time under load in surroundings that change, checks every answer, and watches its memory.

    cargo build --release -p ownergate && bench/soak/run.py --binary target/release/ownergate --minutes 60

Needs the packages of requirements.txt. Everything is on loopback: an issuer that changes its key and is not always
well, two backends that go away in turn, a configuration that is read again and changes, fifty users, and a trickle of
forged tokens. Ends with 1 when a client saw an error that the surroundings do not explain.
"""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from backend import Backend, restart_in_turn
from issuer import NAME, Issuer
from load import Load
from report import Sample, write_report

RESULTS = Path(__file__).parent.parent / "results"
# Seconds.
SAMPLE, PROGRESS, SIGNAL, CHANGE = 10, 30, 30, 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def configuration(port, admin, issuer, backends, extra):
    urls = ", ".join(f'"http://127.0.0.1:{backend.port}"' for backend in backends)
    more = '[[route]]\npath = "/extra/**"\naccess = "signed-in"\n' if extra else ""
    return f"""
[server]
listen = ["127.0.0.1:{port}"]
admin = "127.0.0.1:{admin}"
[log]
level = "warn"
[[issuer]]
name = "soak"
jwks = "http://127.0.0.1:{issuer}/jwks"
issuer = "{NAME}"
audience = "{NAME}"
[upstream.app]
url = [{urls}]
[[route]]
path = "/api/{{user_id}}/**"
access = {{ owner = "user_id" }}
rate_limit = {{ per_second = 10000, burst = 10000 }}
[[route]]
path = "/public/**"
access = "public"
{more}"""


class Watched:
    """The proxy's process, and the file that it reads."""

    def __init__(self, binary, folder, write):
        self.file, self.write, self.extra = folder / "ownergate.toml", write, [False, 0.0]
        self.change(False)
        self.log = (folder / "ownergate.log").open("w")
        self.process = subprocess.Popen([binary, "--config", self.file], stderr=self.log, stdout=self.log)

    def change(self, extra):
        new = self.file.with_suffix(".new")
        new.write_text(self.write(extra))
        new.rename(self.file)
        self.extra[:] = [extra, time.monotonic()]

    async def signal(self):
        while True:
            await asyncio.sleep(SIGNAL)
            self.process.send_signal(signal.SIGHUP)

    async def change_again(self):
        while True:
            await asyncio.sleep(CHANGE)
            self.change(not self.extra[0])

    def sample(self, began):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        cpu = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return Sample(
            seconds=time.monotonic() - began,
            resident=int(fields["VmRSS"].split()[0]) / 1024,
            files=len(os.listdir(f"/proc/{self.process.pid}/fd")),
            threads=int(fields["Threads"]),
            cpu=(int(cpu[11]) + int(cpu[12])) / os.sysconf("SC_CLK_TCK"),
        )


async def metrics(port):
    """Sums of the metrics, over their labels."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    sums = {}
    for line in text.splitlines():
        if line.startswith("ownergate_") and "_bucket" not in line:
            name, value = line.split("{")[0].split(" ")[0], float(line.rsplit(" ", 1)[1])
            sums[name] = sums.get(name, 0) + value
    return sums


async def watch(proxy, admin, load, began, samples):
    while True:
        sample = proxy.sample(began)
        sample.metrics = await metrics(admin)
        samples.append(sample)
        if len(samples) % (PROGRESS // SAMPLE) == 1:
            tell(sample, load)
        await asyncio.sleep(SAMPLE)


def tell(sample, load):
    waits, load.waits = sorted(load.waits) or [0], []
    p50, p99 = (waits[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
    print(
        f"{sample.seconds:6.0f} s  {sum(load.counts.values()):8} answers  {len(load.errors)} errors  p50 {p50:.1f} ms  p99 {p99:.0f} ms  "
        f"{sample.resident:.1f} MiB  {sample.files} files  {sample.threads} threads  "
        f"proxy {sample.cpu:.0f} s, load {time.process_time():.0f} s of CPU",
        flush=True,
    )


async def ready(admin):
    for _ in range(200):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", admin)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head = await reader.readline()
            writer.close()
            if b" 200 " in head:
                return
        except OSError:
            pass
        await asyncio.sleep(0.05)
    raise SystemExit("the proxy does not become ready")


async def soak(options, folder):
    issuer, backends, samples = Issuer(), [Backend(), Backend()], []
    for backend in backends:
        await backend.start()
    keys = await asyncio.start_server(issuer.serve, "127.0.0.1", 0)
    keys_port, port, admin = keys.sockets[0].getsockname()[1], free_port(), free_port()
    proxy = Watched(options.binary, folder, lambda extra: configuration(port, admin, keys_port, backends, extra))
    try:
        await ready(admin)
        began = time.monotonic()
        load = Load(port, options.rate, issuer, backends, proxy.extra)
        surroundings = [issuer.rotate(), restart_in_turn(backends), proxy.signal(), proxy.change_again()]
        tasks = [asyncio.create_task(work) for work in [*surroundings, watch(proxy, admin, load, began, samples)]]
        await load.run(began + options.minutes * 60)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                raise outcome
        proxy.process.send_signal(signal.SIGTERM)
        return load, issuer, backends, samples, await asyncio.to_thread(proxy.process.wait, 60)
    finally:
        proxy.process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=120, help="requests a second")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ownergate-soak-"))
    print(f"the proxy's file and log are in {folder}", flush=True)
    load, issuer, backends, samples, code = asyncio.run(soak(options, folder))
    errors = write_report(RESULTS, options, load, issuer, backends, samples, code)
    return 1 if errors or code else 0


if __name__ == "__main__":
    sys.exit(main())
