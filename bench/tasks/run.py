#!/usr/bin/env python3
"""Measures the task service beside a FastAPI application on the same machine, in turns, and writes a table and a plot.

    cargo build --release -p task-service && bench/tasks/run.py [--seconds 10] [--rounds 3]

Needs wrk (apt-get install wrk) and a Python with the packages of requirements.txt. The peer runs as uvicorn runs it unless told
otherwise, in one process, and once more with a worker for each core. All keep SQLite on the same disk with write-ahead logging and
synchronous=FULL; the peer checks a token for every request, as it would have to, and the task service is asked as the proxy asks
it. Every figure is of one round; the table tells the median of the rounds. Memory is that of all processes of a server.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RESULTS = HERE.parent / "results"
SECRET = "a secret for this measurement alone, 32+"
CONNECTIONS = 64
LIST_TASKS = 20
WORKERS = os.cpu_count()
OURS, PEERS = "task-service", {"FastAPI": 1, f"FastAPI, {WORKERS} workers": WORKERS}
LOADS = {"creates": "durable creates", "lists": f"lists of {LIST_TASKS} tasks"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server on a database of its own, with 20 tasks of the user who lists."""

    def __init__(self, name, folder, binary):
        import jwt

        self.name, self.port = name, free_port()
        token = jwt.encode({"sub": "reader", "exp": time.time() + 3600}, SECRET, "HS256")
        writer = jwt.encode({"sub": "writer", "exp": time.time() + 3600}, SECRET, "HS256")
        if name == OURS:
            command = [binary, "--listen", f"127.0.0.1:{self.port}"]
            command += ["--database", folder / "tasks.db"]
            self.headers = {user: {"X-User-Id": user} for user in ("reader", "writer")}
        else:
            command = [sys.executable, "-m", "uvicorn", "--app-dir", HERE, "peer:app", "--port", str(self.port)]
            command += ["--log-level", "warning", "--no-access-log", "--workers", str(PEERS[name])]
            self.headers = {"reader": {"Authorization": f"Bearer {token}"}, "writer": {"Authorization": f"Bearer {writer}"}}
        environment = os.environ | {"PEER_SECRET": SECRET, "PEER_DATABASE": str(folder / f"{name}.db")}
        if name in PEERS:
            # The tables once, before the workers: each of them would make them.
            subprocess.run([sys.executable, "-c", "import peer"], env=environment, cwd=HERE, check=True)
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def prepare(self):
        self.wait()
        for number in range(LIST_TASKS):
            self.create("reader", f"task number {number}")

    def wait(self):
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit(f"{self.name} does not start")

    def url(self, user):
        return f"http://127.0.0.1:{self.port}/api/{user}/tasks"

    def create(self, user, title):
        body = json.dumps({"title": title, "description": "as long as a description usually is, one line"}).encode()
        headers = self.headers[user] | {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url(user), body, headers)) as response:
            assert response.status == 201

    def load(self, load, seconds):
        user = "writer" if load == "creates" else "reader"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
        for name, value in self.headers[user].items():
            command += ["-H", f"{name}: {value}"]
        if load == "creates":
            command += ["-s", HERE / "create.lua"]
        said = subprocess.run([*command, self.url(user)], check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            print(said, file=sys.stderr)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
        number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
        return rate, float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]

    def peak_memory(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        processes = [Path(f"/proc/{process}/status").read_text() for process in (self.process.pid, *children)]
        return sum(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) for status in processes) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def measure(binary, seconds, rounds):
    figures = {}
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder, ExitStack() as stack:
        servers = []
        for name in (OURS, *PEERS):
            servers.append(Server(name, Path(folder), binary))
            stack.callback(servers[-1].stop)
        for server in servers:
            server.prepare()
        for load in LOADS:
            for _ in range(rounds):
                for server in servers:
                    figures.setdefault((server.name, load), []).append(server.load(load, seconds))
        memory = {server.name: server.peak_memory() for server in servers}
    medians = {key: tuple(map(statistics.median, zip(*values, strict=True))) for key, values in figures.items()}
    return medians, memory


def table(figures, memory, conditions):
    def row(title, form, figure, ratio):
        peers = [f"{figure(peer):{form}} | {ratio(figure(OURS), figure(peer)):.1f} ×" for peer in PEERS]
        return f"| {title} | {figure(OURS):{form}} | {' | '.join(peers)} |"

    more, less = (lambda ours, theirs: ours / theirs), (lambda ours, theirs: theirs / ours)
    lines = [conditions, "", f"| | {OURS} | {' | ratio | '.join(PEERS)} | ratio |", "| --- | ---: |" + " ---: | ---: |" * len(PEERS)]
    for load, title in LOADS.items():
        lines.append(row(f"{title} a second", ",.0f", lambda name: figures[name, load][0], more))
        lines.append(row("… 99th percentile, ms", ",.1f", lambda name: figures[name, load][1], less))
    lines.append(row("peak memory, MiB", ",.0f", lambda name: memory[name], less))
    return "\n".join(lines) + "\n"


def plot(figures):
    bars, top = [], 20
    for load, title in LOADS.items():
        most = max(figures[name, load][0] for name in (OURS, *PEERS))
        bars.append(f'<text x="10" y="{top}" class="title">{title} a second, {CONNECTIONS} connections</text>')
        for name in (OURS, *PEERS):
            top += 26
            rate = figures[name, load][0]
            width, colour = max(2, 380 * rate / most), "#2a7" if name == OURS else "#999"
            bars.append(f'<text x="10" y="{top}">{name}</text>')
            bars.append(f'<rect x="150" y="{top - 14}" width="{width:.0f}" height="18" fill="{colour}"/>')
            bars.append(f'<text x="{158 + width:.0f}" y="{top}">{rate:,.0f}</text>')
        top += 44
    style = "text{font:13px sans-serif;fill:#444}.title{font-weight:bold}"
    body = "\n".join(bars)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="620" height="{top - 20}"><style>{style}</style>\n{body}\n</svg>\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/task-service")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    conditions = (
        f"{os.cpu_count()} cores, load average before the run {os.getloadavg()[0]:.1f}; {CONNECTIONS} connections; "
        f"medians of {options.rounds} rounds of {options.seconds} s, in turns."
    )
    figures, memory = measure(options.binary, options.seconds, options.rounds)
    (RESULTS / "tasks.md").write_text(table(figures, memory, conditions))
    (RESULTS / "tasks.svg").write_text(plot(figures))
    print(table(figures, memory, conditions))


if __name__ == "__main__":
    main()
