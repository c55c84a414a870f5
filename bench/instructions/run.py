#!/usr/bin/env python3
"""Counts the instructions that a decision takes, which a busy machine does not change, and writes ../results/instructions.md.

    bench/instructions/run.py

Needs valgrind (apt-get install valgrind). Callgrind runs each case of proxy/benches/instructions.rs a few times and then
a few times more; what the second run takes beyond the first is the cases' own. Valgrind's processor has fewer instructions
for cryptography than most real ones: compare the counts with those of another version, not with times.
"""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FEW, MORE = 100, 300


def build():
    """The bench's executable."""
    command = ["cargo", "bench", "-p", "ownergate", "--bench", "instructions", "--no-run", "--message-format", "json"]
    said = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    built = [json.loads(line).get("executable") for line in said.splitlines()]
    return next(executable for executable in built if executable)


def instructions(executable, case, count):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", executable, case, str(count)]
    said = subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.PIPE, text=True).stderr
    return int(re.search(r"Collected : (\d+)", said)[1])


def main():
    executable = build()
    cases = subprocess.run([executable], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    version = subprocess.run(["valgrind", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    lines = [
        "# Instructions of a decision", "",
        f"Counted by callgrind ({version}), with a browser's nine headers and Better Auth's claims: `bench/instructions/run.py`.", "",
        "| | instructions |", "| --- | ---: |",
    ]
    for case in cases:
        spent = instructions(executable, case, MORE) - instructions(executable, case, FEW)
        lines.append(f"| {case} | {spent / (MORE - FEW):,.0f} |")
        print(lines[-1], flush=True)
    (ROOT / "bench/results/instructions.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
