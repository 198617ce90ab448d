"""Requests a second that `nnrun serve` answers: the Boston network, one row a request, over open connections.

    python tests/benchmarks/serving.py [--clients 64] [--seconds 10] [--rows 1]

The client runs on this machine too, in a process of its own, so on two cores it takes one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.http_load import load_server, post

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Train, serve, ask, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rows", type=int, default=1, help="of a request")
    given = parser.parse_args()
    nnrun = [sys.executable, "-m", "nnrun"]
    with tempfile.TemporaryDirectory() as folder:
        spec = str(ROOT / "specs" / "boston.yaml")
        trained = [*nnrun, "train", spec, "--set", "validation=none", "--epochs", "5", "-q"]
        subprocess.run([*trained, "--runs-dir", folder], check=True, stdout=subprocess.DEVNULL)
        served = [*nnrun, "serve", "@last", "--runs-dir", folder, "--port", "0", "--json", "-q"]
        with subprocess.Popen(served, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            lines = []
            for line in server.stdout:
                lines.append(line)
                if line.startswith("}"):
                    break
            told = json.loads("".join(lines))
            with urllib.request.urlopen(f"{told['url']}/schema") as answer:
                example = json.load(answer)["example"]
            rows = [{**example, "CRIM": number / 7} for number in range(64 * given.rows)]
            bodies = [
                json.dumps(rows[at : at + given.rows] if given.rows > 1 else rows[at])
                for at in range(0, len(rows), given.rows)
            ]
            requests = [post(told["host"], "/predict", body.encode()) for body in bodies]
            for seconds in (1.0, given.seconds):  # the first warms up
                load = asyncio.run(
                    load_server(told["host"], told["port"], requests, clients=given.clients, seconds=seconds)
                )
            with urllib.request.urlopen(f"{told['url']}/health") as answer:
                health = json.load(answer)
            os.kill(server.pid, signal.SIGTERM)
            code = server.wait(10)
    milliseconds = {f"p{round(100 * share)}": 1000 * load.percentile(share) for share in (0.5, 0.95, 0.99)}
    print(
        f"{given.clients} clients, {given.rows} row(s) a request: {load.per_second:,.0f} requests/s, "
        + ", ".join(f"{name} {value:.1f} ms" for name, value in milliseconds.items())
        + f"; answers {load.answers}, errors {len(load.errors)}; "
        f"{health['requests'] / health['batches']:.1f} requests a batch; exit code {code}"
    )


if __name__ == "__main__":
    main()
