#!/usr/bin/env python3
"""Measures the proxy beside its peers on the same machine, in turns, and writes a table and a plot.

    make release && bench/proxy/run.py --binary target/pgo/ownergate [--seconds 5] [--rounds 5]

Needs wrk, h2load, nginx, haproxy and caddy (apt-get install wrk nghttp2-client nginx-light haproxy caddy) and the packages of
requirements.txt. The results go into bench/results/proxy.md and proxy.svg.

Each subject runs one worker on core 0; the load and the upstream, an nginx that answers a fixed task, run on core 1. What
counts is the subject's CPU time (user and system, from /proc) over the requests that it answered: unlike rates and times
it does not depend on how much the upstream and the load take. Every figure is of one round; the table tells medians.
"""

import argparse
import base64
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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RESULTS = HERE.parent / "results"
SECRET = "a-secret-for-this-measurement-alone-32+"
CONNECTIONS = 64
USERS = 2000
COLD = 60_000
CLOCK = os.sysconf("SC_CLK_TCK")
TASK = json.dumps({
    "id": 7, "title": "Buy milk", "description": None, "completed": False,
    "created_at": "2026-11-23T06:40:07Z", "updated_at": "2026-11-23T06:40:07Z",
})


@dataclass
class Subject:
    """What is measured: a server, and the requests that it gets."""

    name: str
    server: str
    load: str
    seconds: float | None = None


SUBJECTS = [
    Subject("ownergate, HS256", "ownergate-hs256", "hs256"),
    Subject("ownergate, HS256, unix socket", "ownergate-unix", "hs256"),
    Subject("ownergate, ES256", "ownergate-es256", "es256"),
    Subject("ownergate, EdDSA", "ownergate-eddsa", "eddsa"),
    Subject("ownergate, EdDSA, each token new", "ownergate-eddsa", "cold", 2),
    Subject("ownergate, public route", "ownergate-hs256", "public"),
    Subject("nginx, no auth", "nginx", "hs256"),
    Subject("nginx, no auth, unix socket", "nginx-unix", "hs256"),
    Subject("HAProxy jwt_verify, HS256", "haproxy", "hs256"),
    Subject("Caddy, no auth", "caddy", "hs256"),
    Subject("FastAPI and PyJWT, HS256", "fastapi", "hs256"),
]

# What h2load sends: the same request on HTTP/1.1 and on HTTP/2.
PROTOCOLS = {
    "HTTP/1.1, 64 connections": ["--h1", "-c64", "-m1"],
    "HTTP/2, 8 connections of 8 streams": ["-c8", "-m8"],
    "HTTP/2, 64 connections of 1 stream": ["-c64", "-m1"],
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_tokens(folder):
    """A file of paths and tokens for each load, and the key sets that verify them."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    keys = {"hs256": SECRET, "es256": ec.generate_private_key(ec.SECP256R1()), "eddsa": ed25519.Ed25519PrivateKey.generate()}
    encode = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    point = keys["es256"].public_key().public_numbers()
    coordinate = lambda number: encode(number.to_bytes(32, "big"))
    es256 = {"kty": "EC", "crv": "P-256", "kid": "k", "x": coordinate(point.x), "y": coordinate(point.y)}
    raw = keys["eddsa"].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    eddsa = {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode(raw)}
    for name, key in (("es256", es256), ("eddsa", eddsa)):
        (folder / f"{name}.json").write_text(json.dumps({"keys": [key]}))
    (folder / "secret").write_text(SECRET)

    now = int(time.time())
    loads = [("hs256", "HS256", "hs256", USERS), ("es256", "ES256", "es256", USERS), ("eddsa", "EdDSA", "eddsa", USERS)]
    for load, algorithm, key, count in [*loads, ("cold", "EdDSA", "eddsa", COLD)]:
        with (folder / load).open("w") as lines:
            for number in range(count):
                user = f"user-{number % USERS:05}"
                claims = {
                    "sub": user, "name": "Some Body", "email": f"{user}@example.com", "iat": now, "exp": now + 86400,
                    "iss": "http://localhost:3000", "aud": "http://localhost:3000", "jti": str(number),
                }
                lines.write(f"/api/{user}/tasks/7\t{jwt.encode(claims, keys[key], algorithm, {'kid': 'k'})}\n")
    (folder / "public").write_text((folder / "hs256").read_text().replace("/api/", "/public/"))


def ownergate(folder, port, upstream, keys):
    config = folder / f"ownergate-{port}.toml"
    config.write_text(f"""
        [server]
        listen = ["127.0.0.1:{port}"]
        admin = "off"
        workers = 1
        [log]
        level = "warn"
        [[issuer]]
        name = "bench"
        {keys}
        [upstream.tasks]
        url = "{upstream}"
        [[route]]
        path = "/api/{{user_id}}/**"
        access = {{ owner = "user_id" }}
        [[route]]
        path = "/public/**"
        access = "public"
    """)
    return config


def nginx(folder, name, body):
    config = folder / f"{name}.conf"
    config.write_text(f"""
        worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log;
        events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; {body} }}
    """)
    return ["nginx", "-c", config]


def nginx_proxy(folder, name, port, upstream):
    return nginx(folder, name, f"""
        upstream tasks {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
        server {{ listen 127.0.0.1:{port}; location / {{
            proxy_pass http://tasks; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-User-Id alice; }} }}
    """)


def haproxy(folder, port, upstream):
    config = folder / "haproxy.cfg"
    config.write_text(f"""
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    http-request deny deny_status 401 unless {{ req.hdr(authorization) -m found }}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.sub) var(txn.bearer),jwt_payload_query('$.sub')
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_header_query('$.alg') -m str HS256 }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify("HS256","{SECRET}") 1 }}
    http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
    http-request set-var(txn.owner) path,field(3,/)
    http-request deny deny_status 403 unless {{ var(txn.owner),strcmp(txn.sub) eq 0 }}
    http-request set-header X-User-Id %[var(txn.sub)]
    http-request del-header Authorization
    default_backend tasks
backend tasks
    server tasks {upstream}
""")
    return ["haproxy", "-db", "-f", config]


def caddy(folder, port, upstream):
    config = folder / "Caddyfile"
    config.write_text(f"""
{{
    admin off
    auto_https off
    log default {{
        level ERROR
    }}
}}
http://127.0.0.1:{port} {{
    reverse_proxy {upstream} {{
        transport http {{
            keepalive_idle_conns_per_host 256
        }}
        header_up X-User-Id alice
    }}
}}
http://localhost:{port} {{
    reverse_proxy {upstream} {{
        transport http {{
            keepalive_idle_conns_per_host 256
        }}
        header_up X-User-Id alice
    }}
}}
""")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", config]


class Server:
    """A running process, with those that it starts."""

    def __init__(self, name, core, port, command, environment=None):
        self.name, self.port = name, port
        environment = os.environ | {"GOMAXPROCS": "1", "HOME": "/tmp"} | (environment or {})
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def wait(self):
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"{self.name} does not start")

    def pids(self):
        first = self.process.pid
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    def cpu_seconds(self):
        fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in self.pids()]
        return sum(int(field[11]) + int(field[12]) for field in fields) / CLOCK

    def peak_memory(self):
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids()]
        return sum(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) for status in statuses) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def start(stack, folder, binary):
    """Every server, by name."""
    origin, socket_path = free_port(), folder / "upstream.sock"
    answer = f"location / {{ default_type application/json; return 200 '{TASK}'; }}"
    listen = f"server {{ listen 127.0.0.1:{origin} backlog=4096; listen unix:{socket_path}; {answer} }}"
    upstream = Server("upstream", 1, origin, nginx(folder, "upstream", listen))
    stack.callback(upstream.stop)
    upstream.wait()
    url, secret = f"http://127.0.0.1:{origin}", f'secret_file = "{folder}/secret"'
    key_set = '''jwks = "{folder}/{name}.json"
        issuer = "http://localhost:3000"
        audience = ["http://localhost:3000"]'''

    def gate(upstream, keys):
        return lambda port: [binary, "--config", ownergate(folder, port, upstream, keys)]

    commands = {
        "ownergate-hs256": gate(url, secret),
        "ownergate-unix": gate(f"unix:{socket_path}", secret),
        "ownergate-es256": gate(url, key_set.format(folder=folder, name="es256")),
        "ownergate-eddsa": gate(url, key_set.format(folder=folder, name="eddsa")),
        "nginx": lambda port: nginx_proxy(folder, "nginx", port, f"127.0.0.1:{origin}"),
        "nginx-unix": lambda port: nginx_proxy(folder, "nginx-unix", port, f"unix:{socket_path}"),
        "haproxy": lambda port: haproxy(folder, port, f"127.0.0.1:{origin}"),
        "caddy": lambda port: caddy(folder, port, f"127.0.0.1:{origin}"),
        "fastapi": lambda port: [
            sys.executable, "-m", "uvicorn", "--app-dir", HERE, "peer:app", "--port", port, "--no-access-log",
        ],
    }
    servers = {}
    for name, command in commands.items():
        port = free_port()
        servers[name] = Server(name, 0, port, command(port), {"PEER_SECRET": SECRET})
        stack.callback(servers[name].stop)
    for server in servers.values():
        server.wait()
    return servers


def put_load(server, path, seconds, begin=0):
    """CPU microseconds, and what wrk saw."""
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-s", HERE / "load.lua", f"http://127.0.0.1:{server.port}/", "--", path, str(begin)]
    before = server.cpu_seconds()
    said = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    spent = server.cpu_seconds() - before
    figures = json.loads(re.search(r"FIGURES (.*)", said)[1])
    if figures["failed"]:
        raise SystemExit(f"{server.name} failed {figures['failed']} of {figures['requests']} requests")
    return {
        "cpu": spent * 1e6 / figures["requests"],
        "rate": figures["requests"] * 1e6 / figures["microseconds"],
        **{name: figures[name] / 1000 for name in ("p50", "p99", "p999")},
    }, figures["requests"]


def put_protocol_load(server, tokens, arguments, seconds):
    """CPU microseconds a request, as h2load counts them."""
    path, token = tokens.read_text().splitlines()[0].split("\t")
    command = ["taskset", "-c", "1", "h2load", "-t1", *arguments, f"-D{seconds}", "-H", f"authorization: Bearer {token}"]
    before = server.cpu_seconds()
    said = subprocess.run([*command, f"http://127.0.0.1:{server.port}{path}"], check=True, capture_output=True, text=True).stdout
    spent = server.cpu_seconds() - before
    succeeded, failed = (int(re.search(rf"(\d+) {what}", said)[1]) for what in ("succeeded", "failed"))
    if failed or f"{succeeded} 2xx" not in said:
        raise SystemExit(f"{server.name} failed h2load: {said}")
    return spent * 1e6 / succeeded


def measure(binary, seconds, rounds):
    found, protocols, begin = {}, {}, 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        folder = Path(folder)
        # The peers' workers may run as somebody else.
        folder.chmod(0o755)
        write_tokens(folder)
        servers = start(stack, folder, binary)
        for subject in SUBJECTS:
            if subject.load != "cold":
                put_load(servers[subject.server], folder / subject.load, 1)
        for _ in range(rounds):
            for subject in SUBJECTS:
                first = begin if subject.load == "cold" else 0
                server, path = servers[subject.server], folder / subject.load
                figures, requests = put_load(server, path, subject.seconds or seconds, first)
                begin += requests if subject.load == "cold" else 0
                found.setdefault(subject.name, []).append(figures)
            for name, arguments in PROTOCOLS.items():
                cpu = put_protocol_load(servers["ownergate-hs256"], folder / "hs256", arguments, seconds)
                protocols.setdefault(name, []).append(cpu)
        memory = {subject.name: servers[subject.server].peak_memory() for subject in SUBJECTS}
    medians = {
        name: {key: statistics.median(figures[key] for figures in all_of_it) for key in all_of_it[0]}
        for name, all_of_it in found.items()
    }
    return medians, {name: statistics.median(all_of_it) for name, all_of_it in protocols.items()}, memory


def table(figures, protocols, memory, conditions):
    lines = [conditions, "", "| | CPU µs a request | to nginx | requests/s | p50 ms | p99 ms | p99.9 ms | peak MiB |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    base = figures["nginx, no auth"]["cpu"]
    for name, row in figures.items():
        times = " | ".join(f"{row[key]:.2f}" for key in ("p50", "p99", "p999"))
        lines.append(f"| {name} | {row['cpu']:.1f} | {row['cpu'] / base:.2f} | {row['rate']:,.0f} | {times} | {memory[name]:.0f} |")
    lines += ["", "| ownergate, HS256, by h2load | CPU µs a request | to HTTP/1.1 |", "| --- | ---: | ---: |"]
    base = next(iter(protocols.values()))
    lines += [f"| {name} | {cpu:.1f} | {cpu / base:.2f} |" for name, cpu in protocols.items()]
    return "\n".join(lines) + "\n"


def plot(figures, conditions):
    bars, top, longest = [], 44, 3 * figures["nginx, no auth"]["cpu"]
    for name, row in sorted(figures.items(), key=lambda item: item[1]["cpu"]):
        colour = "#2a7" if name.startswith("ownergate") else "#999"
        width = max(2, 380 * min(1, row["cpu"] / longest))
        cut = " …" if row["cpu"] > longest else ""
        bars.append(f'<text x="10" y="{top}">{name}</text>')
        bars.append(f'<rect x="262" y="{top - 13}" width="{width:.0f}" height="17" fill="{colour}"/>')
        bars.append(f'<text x="{270 + width:.0f}" y="{top}">{row["cpu"]:.1f}{cut}</text>')
        top += 25
    style = "text{font:13px sans-serif;fill:#444}.title{font-weight:bold}.small{font-size:11px}"
    title = '<text x="10" y="18" class="title">CPU microseconds a request, one core</text>'
    foot = f'<text x="10" y="{top}" class="small">{conditions}</text>'
    body = "\n".join([title, *bars, foot])
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="742" height="{top + 12}"><style>{style}</style>\n{body}\n</svg>\n'


def processor():
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else "an unknown processor"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/ownergate")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    conditions = (
        f"{time.strftime('%Y-%m-%d')}, {processor()}, load average before the run {os.getloadavg()[0]:.1f}; "
        f"{CONNECTIONS} connections, {USERS} users, medians of {options.rounds} rounds of {options.seconds} s."
    )
    figures, protocols, memory = measure(options.binary, options.seconds, options.rounds)
    report = table(figures, protocols, memory, conditions)
    (RESULTS / "proxy.md").write_text(report)
    (RESULTS / "proxy.svg").write_text(plot(figures, conditions))
    print(report)


if __name__ == "__main__":
    main()
