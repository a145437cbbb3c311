"""Times PGD-40 as a plugin in worker processes against the same attack built in, interleaved, and prints the ratio.

    cargo build --release
    cargo build --release --manifest-path plugins/Cargo.toml
    REALSAFE_DATA=... python3 benches/plugin.py [--rounds 5] [--samples 200] [--device flex]

Both run benches/pgd.toml (a CIFAR-10 ResNet-20) with early exit, each into an empty folder, in turn. Compared are the
seconds that the cells took, which leaves out what comes before: reading the spec, hashing data, and starting the worker
processes that read the plugin's table. Whole processes are printed, too. All rows of both samples.csv must agree.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent


def run(binary, arguments, lock, attack):
    """Seconds of the process, seconds of its cells, and what it found, for one run into an empty folder."""
    with tempfile.TemporaryDirectory() as out:
        command = [binary, "run", ROOT / "benches/pgd.toml", "--out", out, "--device", arguments.device]
        command += ["--set", "attack.pgd.success=any-iterate", "--set", f"attack.pgd.use={attack}"]
        command += ["--limit", str(arguments.samples), "--set", f"run.chunk={arguments.chunk}"]
        command += ["--plugin", arguments.plugin]
        started = time.perf_counter()
        done = subprocess.run(list(map(str, command)), cwd=lock, capture_output=True, text=True, env=environment())
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr}")
        with (Path(out) / "timings.csv").open(newline="") as file:
            cells = sum(float(row["seconds"]) for row in csv.DictReader(file))
        with (Path(out) / "samples.csv").open(newline="") as file:
            found = [{key: row[key] for key in row if key != "cell"} for row in csv.DictReader(file)]
    return seconds, cells, found


def environment():
    """The environment of a run, with LibTorch's libraries on the search path for `tch`."""
    libraries = Path(os.environ.get("LIBTORCH", ROOT / "target/libtorch")) / "lib"
    path = ":".join(filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH")]))
    return {**os.environ, "LD_LIBRARY_PATH": path}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--chunk", type=int, default=100, help="samples of a cell (default: %(default)s)")
    parser.add_argument("--device", default="flex")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/realsafe-spec")
    parser.add_argument("--plugin", type=Path, default=ROOT / "plugins/target/release/libpgd_plugin.so")
    arguments = parser.parse_args()
    arguments.binary, arguments.plugin = arguments.binary.resolve(), arguments.plugin.resolve()
    with tempfile.TemporaryDirectory() as lock:
        subprocess.run([arguments.binary, "plugin", "trust", arguments.plugin], cwd=lock, check=True)
        # Cold caches are nobody's merit.
        run(arguments.binary, argparse.Namespace(**{**vars(arguments), "samples": 8}), lock, "pgd")
        whole, cells = [], []
        for number in range(1, arguments.rounds + 1):
            built_in = run(arguments.binary, arguments, lock, "pgd")
            plugin = run(arguments.binary, arguments, lock, "plugin-pgd")
            if built_in[2] != plugin[2]:
                sys.exit("error: the plugin found something else than the built-in attack")
            whole.append(plugin[0] / built_in[0])
            cells.append(plugin[1] / built_in[1])
            print(f"round {number}: cells {built_in[1]:.2f} s and {plugin[1]:.2f} s, ratio {cells[-1]:.3f}; "
                  f"processes {built_in[0]:.2f} s and {plugin[0]:.2f} s, ratio {whole[-1]:.3f}")
        spread = f"{min(cells):.3f} to {max(cells):.3f}"
        print(f"plugin / built-in on {arguments.device}: median {median(cells):.3f} of the cells ({spread}), "
              f"{median(whole):.3f} of whole processes")


if __name__ == "__main__":
    main()
