#!/usr/bin/env python3
"""Measures what a user's lists cost when there are 1 000 000 tasks of 10 000 users, beside 1 000 tasks of 10.

    cargo build --release -p task-service && bench/tasks/scale.py [sqlite|postgres|clustered]

Needs wrk, and for the second store PostgreSQL's server programs (apt-get install wrk postgresql). Every user has 100 tasks, made
in turns, so that those of one user lie as far apart as the store lets them. One request at a time for a random user, to both
sizes in turns; what is told is the time until the answer is there, in milliseconds. The result is a section of bench/results/scale.md.

SQLite keeps the tasks of one user together by itself. PostgreSQL leaves rows where they were written until it is told to lay them
out anew: "clustered" is PostgreSQL after `CLUSTER task USING task_pkey`, which locks the table while it runs.
"""

import argparse
import contextlib
import glob
import http.client
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SIZES = {"1 000 of 10": (1_000, 10), "1 000 000 of 10 000": (1_000_000, 10_000)}
TITLES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "clustered": "PostgreSQL after CLUSTER"}
LOADS = {
    "first page of 100": "",
    "first page of 20": "?limit=20",
    "by title, 20": "?sort=title&limit=20",
    "search, a word of every task, 20": "?q=milk&limit=20",
    "search, a word of every fifth, 20": "?q=word3&limit=20",
}
FILL = """
    INSERT INTO task (owner, title, description, created_at, updated_at, words)
        SELECT 'user-' || (number::bigint * 7919 % {users}), title, description, 1795416007, 1795416007,
            array_to_tsvector(array['buy', 'oat', 'milk', number::text, 'word' || number / {users} % 5, 'as', 'long', 'description', 'usually', 'is'])
        FROM generate_series(0, {tasks} - 1) AS number,
            LATERAL (SELECT 'buy oat milk ' || number AS title, 'word' || number / {users} % 5 || ', as long as a description usually is' AS description) AS text;
    INSERT INTO usage SELECT owner, count(*), sum(octet_length(title) + octet_length(description)) FROM task GROUP BY owner;
"""


def stop(process):
    process.send_signal(signal.SIGINT)
    process.wait()


def postgres(folder, stack):
    """Starts a server on a socket in `folder`; how to run its programs."""
    programs = Path(os.environ.get("POSTGRES_BIN") or max(glob.glob("/usr/lib/postgresql/*/bin")))
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    if user:
        folder.chmod(0o755)
        (folder / "server").mkdir()
        subprocess.run(["chown", "postgres", folder / "server"], check=True)
    home = folder / "server"
    home.mkdir(exist_ok=True)
    initdb = [programs / "initdb", "--auth=trust", "--encoding=UTF8", "-U", "postgres", "-D", home / "data"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)
    command = [programs / "postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses=", "-c", "shared_buffers=1GB"]
    stack.callback(stop, subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/", **user))
    while subprocess.run([programs / "pg_isready", "-qh", home]).returncode:
        time.sleep(0.1)
    return home, lambda database, sql: subprocess.run([programs / "psql", "-qXh", home, "-U", "postgres", database, "-c", sql], check=True)


class Service:
    """A task service that keeps so many tasks."""

    def __init__(self, binary, database, stack):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [binary, "--listen", f"127.0.0.1:{self.port}", "--database", database]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        stack.callback(stop, self.process)
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                break
            if self.process.poll() is not None:
                raise SystemExit("task-service does not start")
            time.sleep(0.05)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)

    def fill(self, tasks, users):
        command = ["wrk", "-t1", "-c64", "-d1h", "--timeout", "30s", "-s", HERE / "fill.lua", f"http://127.0.0.1:{self.port}"]
        filling = subprocess.Popen([*command, "--", str(tasks), str(users)], stdout=subprocess.PIPE, text=True)
        # wrk itself would wait until its time is over.
        while (line := filling.stdout.readline()) != "enough\n":
            assert line, "wrk has ended"
        filling.kill()
        filling.wait()

    def ask(self, user, query):
        started = time.perf_counter()
        self.connection.request("GET", f"/api/{user}/tasks{query}", headers={"X-User-Id": user})
        answer = self.connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - started
        assert answer.status == 200 and body != b"[]", (answer.status, user, query)
        return took * 1000

    def memory(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def prepare(options, folder, stack):
    """A filled service of each size."""
    services = {}
    if options.store != "sqlite":
        home, psql = postgres(folder, stack)
    for name, (tasks, users) in SIZES.items():
        started = time.monotonic()
        if options.store != "sqlite":
            database = f"of{users}"
            psql("postgres", f"CREATE DATABASE {database}")
            service = Service(options.binary, f"postgres://postgres@/{database}?host={home}", stack)
            psql(database, FILL.format(tasks=tasks, users=users))
            if options.store == "clustered":
                psql(database, "CLUSTER task USING task_pkey")
            psql(database, "VACUUM ANALYZE")
        else:
            service = Service(options.binary, folder / f"{users}.db", stack)
            service.fill(tasks, users)
        services[name] = service
        print(f"{name}: made in {time.monotonic() - started:.0f} s", flush=True)
    return services


def measure(services, requests):
    dice = random.Random(1)
    figures = {}
    # Everybody once, so that what is measured comes from memory.
    for name, service in services.items():
        for user in range(SIZES[name][1]):
            service.ask(f"user-{user}", "")
    for load, query in LOADS.items():
        for _ in range(requests):
            for name, service in services.items():
                took = service.ask(f"user-{dice.randrange(SIZES[name][1])}", query)
                figures.setdefault((load, name), []).append(took)
    return figures


def table(figures, services, conditions):
    small, large = SIZES
    lines = [conditions, "", f"| milliseconds | {small}: p50 | p99 | {large}: p50 | p99 | p50, ratio |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for load in LOADS:
        cells, medians = [], []
        for name in SIZES:
            cuts = statistics.quantiles(figures[load, name], n=100)
            medians.append(cuts[49])
            cells += [f"{cuts[49]:.2f}", f"{cuts[98]:.2f}"]
        lines.append(f"| {load} | {' | '.join(cells)} | {medians[1] / medians[0]:.2f} |")
    lines += ["", f"Peak memory of the service: {services[small].memory():.0f} and {services[large].memory():.0f} MiB."]
    return "\n".join(lines) + "\n"


def write(store, section):
    """Replaces the section of this store, and leaves the others."""
    file = HERE.parent / "results/scale.md"
    sections = dict(re.findall(r"^## ([^\n]+)\n\n(.*?)(?=^## |\Z)", file.read_text() if file.exists() else "", re.S | re.M))
    sections[store] = section
    file.write_text("\n".join(f"## {name}\n\n{sections[name].strip()}\n" for name in TITLES.values() if name in sections))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", nargs="?", default="sqlite", choices=list(TITLES))
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/task-service")
    parser.add_argument("--requests", type=int, default=4000)
    options = parser.parse_args()
    conditions = (
        f"{os.cpu_count()} cores, load average before the run {os.getloadavg()[0]:.1f}; {options.requests} requests of each kind to each size, one at a time, in turns."
    )
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder, contextlib.ExitStack() as stack:
        services = prepare(options, Path(folder), stack)
        section = table(measure(services, options.requests), services, conditions)
    write(TITLES[options.store], section)
    print(section)


if __name__ == "__main__":
    main()
