"""What a run has shown, as a table and a plot."""

import os
import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

EXPLANATION = """\
What is explained: an upload cannot be sent a second time, so that it is 502 when its backend goes away in the middle, and a stream
or WebSocket ends with its backend. A token under a new key needs one good fetch: one that fails is followed by a pause of 5 s."""


@dataclass
class Sample:
    """The proxy at one moment."""

    seconds: float
    resident: float
    files: int
    threads: int
    cpu: float
    metrics: dict = field(default_factory=dict)


def processor():
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else "an unknown processor"


def write_report(folder, options, load, issuer, backends, samples, code):
    """Writes soak.md and soak.svg, prints the former, and returns how many errors there were."""
    folder.mkdir(exist_ok=True)
    conditions = (
        f"{time.strftime('%Y-%m-%d')}, {processor()}, {os.cpu_count()} cores, load average at the end "
        f"{os.getloadavg()[0]:.1f}; {samples[-1].seconds / 60:.0f} minutes at about {options.rate:.0f} requests a second."
    )
    restarts = sum(len(backend.stops) for backend in backends) // 2
    lines = [
        "# A long run in surroundings that change", "", conditions, "",
        f"The issuer changed its key {int(issuer.keys[0].name[4:])} times and answered {issuer.fetches['good']} fetches well, "
        f"{issuer.fetches['500']} with 500, {issuer.fetches['stalled']} too late. The two backends went away {restarts} times in turn. "
        f"The configuration was read again every 30 s, and was another one every minute. "
        f"A token under a new key was refused for {load.oldest_news:.0f} s after the change at the longest. "
        f"At the end the proxy stopped with code {code}.",
        "", "| what became of a request | count |", "| --- | ---: |",
        *(f"| {kind} | {count:,} |" for kind, count in sorted(load.counts.items())),
        f"| **errors that nothing explains** | **{len(load.errors)}** |",
        "", EXPLANATION, "", "| the proxy, medians of | MiB resident | files | threads | connections | tokens held |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *map(quarter, range(4), quarters(samples)),
        "", f"{samples[-1].cpu / samples[-1].seconds:.1%} of a core on average.", "", "![memory](soak.svg)", "",
    ]
    (folder / "soak.md").write_text("\n".join(lines))
    (folder / "soak.svg").write_text(plot(samples, conditions))
    print("\n".join(lines), *load.errors, sep="\n")
    return len(load.errors)


def quarters(samples):
    size = max(1, len(samples) // 4)
    return [samples[place * size :][:size] or samples[-1:] for place in range(4)]


def quarter(place, samples):
    median = lambda value: statistics.median(map(value, samples))
    held = [median(lambda sample: sample.metrics.get(name, 0)) for name in ("ownergate_connections", "ownergate_tokens_held")]
    name = ["the first quarter", "the second", "the third", "the last"][place]
    numbers = [median(lambda sample: sample.files), median(lambda sample: sample.threads), *held]
    return f"| {name} | {median(lambda sample: sample.resident):.1f} | " + " | ".join(f"{number:.0f}" for number in numbers) + " |"


def plot(samples, conditions):
    width, height, left, top = 640, 200, 50, 40
    longest, most = samples[-1].seconds or 1, max(sample.resident for sample in samples) * 1.2
    place = lambda sample: f"{left + width * sample.seconds / longest:.1f},{top + height * (1 - sample.resident / most):.1f}"
    line = f'<polyline fill="none" stroke="#2a7" stroke-width="2" points="{" ".join(map(place, samples))}"/>'
    frame = f'<path fill="none" stroke="#999" d="M{left},{top}V{top + height}H{left + width}"/>'
    marks = [f'<text x="8" y="{top + 5}">{most:.0f}</text>', f'<text x="8" y="{top + height}">0</text>']
    for quarter in (0.25, 0.5, 0.75, 1):
        marks.append(f'<text x="{left + width * quarter - 8:.0f}" y="{top + height + 18}">{longest * quarter / 60:.0f}</text>')
    title = '<text x="10" y="18" class="title">Resident memory of the proxy, MiB, over minutes</text>'
    foot = f'<text x="10" y="{top + height + 42}" class="small">{conditions}</text>'
    style = "text{font:13px sans-serif;fill:#444}.title{font-weight:bold}.small{font-size:10px}"
    body = "\n".join([title, frame, line, *marks, foot])
    size = f'width="740" height="{top + height + 54}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>\n{body}\n</svg>\n'
