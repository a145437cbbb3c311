#!/usr/bin/env bash
# Makes a directory with LibTorch 2.9.0 for the CPU, the version that burn's `tch` backend is built against.
#
#     scripts/install-libtorch.sh [DIR]          # DIR defaults to target/libtorch
#     source DIR/env.sh                          # exports LIBTORCH and LD_LIBRARY_PATH
#
# The libraries are taken out of the Python package `torch`, of which only the CPU half is kept (0.5 GB of 1.8 GB).
# Linux on x86-64, glibc 2.28 or later; needs python3 with pip, a C compiler, 1.7 GB of free disk while it runs and
# 0.6 GB afterwards. Run again, it only prints the variables.
set -euo pipefail

version=2.9.0
cuda=12.8.90
cd "$(dirname "${BASH_SOURCE[0]}")/.."
directory=$(realpath -m "${1:-target/libtorch}")

say() { echo "$@" >&2; }

install() {
    if [[ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]]; then
        say "error: this script knows Linux on x86-64 only; elsewhere leave LIBTORCH unset and the build downloads LibTorch,"
        say "       or install the Python package torch==$version and set LIBTORCH_USE_PYTORCH=1"
        exit 69
    fi
    mkdir -p "$(dirname "$directory")"
    work=$(mktemp -d "$directory.XXXXXX")
    trap 'rm -rf "$work"' EXIT

    # Any Python 3.11 wheel serves, whatever Python runs pip: nothing of the package is executed. `libtorch_cpu.so` of
    # the package is linked against two small CUDA libraries, which come in packages of their own.
    say "downloading torch $version (0.9 GB)"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version 3.11 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --dest "$work/wheels" \
        "torch==$version" "nvidia-cuda-cupti-cu12==$cuda" "nvidia-cuda-runtime-cu12==$cuda"

    say "unpacking its CPU half"
    python3 - "$work/wheels" "$work/libtorch" <<'PYTHON'
import pathlib, shutil, sys, zipfile

wheels, target = map(pathlib.Path, sys.argv[1:])
folders = ("torch/include/", "torch/share/")
libraries = {
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "torch/lib/libtorch_cpu.so",
    "nvidia/cuda_cupti/lib/libcupti.so.12",
    "nvidia/cuda_runtime/lib/libcudart.so.12",
}
missing = set(libraries)
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name in libraries:
                missing.remove(name)
                path = target / "lib" / pathlib.PurePosixPath(name).name
            elif name.startswith(folders) and not name.endswith("/"):
                path = target / pathlib.PurePosixPath(name).relative_to("torch")
            else:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, path.open("wb") as destination:
                shutil.copyfileobj(source, destination)
if missing:
    sys.exit(f"error: the packages lack {', '.join(sorted(missing))}")
PYTHON
    # The package's own `libtorch.so` only pulls in the CUDA half.
    cc -shared -o "$work/libtorch/lib/libtorch.so" -x c /dev/null
    cat >"$work/libtorch/env.sh" <<ENV
export LIBTORCH='$directory'
export LD_LIBRARY_PATH='$directory/lib'"\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
ENV
    echo "$version" >"$work/libtorch/build-version"
    rm -rf "$directory"
    mv "$work/libtorch" "$directory"
}

# The build checks the same file.
if [[ "$(cat "$directory/build-version" 2>/dev/null)" == "$version" ]]; then
    say "LibTorch $version is already there"
else
    install
fi
cat "$directory/env.sh"
