#!/usr/bin/env bash
# Installs the peer libraries of the benchmarks into the virtual environment target/peers: PyTorch 2.9.0, the release
# whose LibTorch the `tch` backend uses, and torchattacks 3.5.1.
#
#     benches/setup-peers.sh
#
# Linux on x86-64 with Python 3.10 to 3.13. PyTorch's package wants its CUDA libraries even where there is no GPU:
# 3 GB to download, 7 GB of disk. Where pip is configured with an index that offers `2.9.0+cpu`, pip prefers that by
# itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ -x target/peers/bin/python ]] || python3 -m venv target/peers
pip=(target/peers/bin/python -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet --no-cache-dir torch==2.9.0 numpy scipy tqdm requests
# Without its dependencies: it pins an old `requests` and asks for torchvision, which PGD does not import.
"${pip[@]}" install --quiet --no-deps torchattacks==3.5.1
target/peers/bin/python -c '
import torch, torchattacks
print("torch", torch.__version__, "and torchattacks", torchattacks.__version__, "on", torch.get_num_threads(), "threads")'
