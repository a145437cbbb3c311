"""Times PGD-40 of realsafe-spec against torchattacks on the same CPU, interleaved, and prints ratios of wall time.

    cargo build --release -p realsafe-spec --features tch
    benches/setup-peers.sh
    REALSAFE_DATA=... target/peers/bin/python benches/pgd.py [--rounds 3] [--device flex] [--device tch]

Both sides are timed as whole processes: starting, loading data and weights, attacking, judging, writing. Every run of
realsafe-spec gets an empty output folder, so that nothing comes out of the store. Runs alternate: each of them follows
a run of the peer and is divided by it; a second table divides by the peer's attack alone, to leave out how long Python
takes to import it.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RULES = ("last", "any-iterate")


class Run(NamedTuple):
    """What a process took and what it found."""

    seconds: float
    mebibytes: float
    robust_accuracy: float

    def __str__(self):
        return f"{self.seconds:7.2f} s, {self.mebibytes:5.0f} MiB, robust accuracy {self.robust_accuracy:.1%}"


def timed(command, environment=None):
    """Wall seconds, peak memory in MiB and standard output of a process that must succeed."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        if code != 0:
            sys.exit(f"error: {' '.join(map(str, command))} ended with {code}:\n{errors.read()}")
        return seconds, usage.ru_maxrss / 1024, output.read()


def run_peer(batch):
    """One run of torchattacks, and the seconds of its attack alone."""
    seconds, mebibytes, output = timed([sys.executable, "benches/pgd_peer.py", "--batch", str(batch)])
    report = json.loads(output.splitlines()[-1])
    return Run(seconds, mebibytes, report["robust-accuracy"]), report["attack-seconds"]


def run_ours(binary, device, rule, jobs):
    """One run of realsafe-spec into an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "run", "benches/pgd.toml", "--device", device, "--out", folder]
        command += ["--set", f"attack.pgd.success={rule}"]
        if jobs:
            command += ["--jobs", str(jobs)]
        seconds, mebibytes, _ = timed(command, environment_of(device))
        with (Path(folder) / "samples.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    errors = [row["sample"] for row in rows if row["status"] not in ("robust", "broken")]
    if errors:
        sys.exit(f"error: {device}, {rule}: no verdict on samples {', '.join(errors)}")
    return Run(seconds, mebibytes, sum(row["status"] == "robust" for row in rows) / len(rows))


def environment_of(device):
    """The environment of a run: LibTorch's libraries on the search path for `tch`."""
    environment = dict(os.environ)
    if device.startswith("tch"):
        libraries = Path(environment.get("LIBTORCH", ROOT / "target/libtorch")) / "lib"
        environment["LD_LIBRARY_PATH"] = ":".join(
            filter(None, [str(libraries), environment.get("LD_LIBRARY_PATH")])
        )
    return environment


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", action="append", help="flex or tch; may be repeated (default: both)")
    parser.add_argument("--batch", type=int, default=100, help="batch size of the peer (default: %(default)s)")
    parser.add_argument("--jobs", type=int, help="handed to realsafe-spec (default: its own)")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/realsafe-spec")
    arguments = parser.parse_args()
    devices = arguments.device or ["flex", "tch"]
    arguments.binary = arguments.binary.resolve()
    if not arguments.binary.exists():
        parser.error(f"{arguments.binary} is not there: build it as the first lines of this file say")

    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {arguments.rounds} rounds")
    # Cold caches are nobody's merit.
    timed([sys.executable, "-c", "import scipy, torch, torchattacks"])
    timed([arguments.binary, "--version"], environment_of("tch"))

    whole = {(device, rule): [] for device in devices for rule in RULES}
    attack = {contestant: [] for contestant in whole}
    for number in range(1, arguments.rounds + 1):
        for device, rule in whole:
            peer, attack_seconds = run_peer(arguments.batch)
            print(f"round {number}: {'torchattacks':<17} {peer}, attack alone {attack_seconds:.2f} s", flush=True)
            ours = run_ours(arguments.binary, device, rule, arguments.jobs)
            print(f"round {number}: {f'{device}, {rule}':<17} {ours}", flush=True)
            whole[device, rule].append(ours.seconds / peer.seconds)
            attack[device, rule].append(ours.seconds / attack_seconds)
    show("wall time / torchattacks", whole)
    show("wall time / its attack", attack)


def show(title, ratios):
    """Prints the spread of the ratios over the rounds."""
    print(f"\n{title:<25}    min  median     max")
    for (device, rule), values in ratios.items():
        print(f"{f'{device}, {rule}':<25} {min(values):6.2f}  {median(values):6.2f}  {max(values):6.2f}")


if __name__ == "__main__":
    main()
