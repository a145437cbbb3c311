#!/usr/bin/env bash
# Installs the peer libraries of the benchmarks into the virtual environment target/peers: PyTorch 2.9.0, the release
# whose LibTorch the `tch` backend uses, and torchattacks 3.5.1; with `all`, also what reports/agreement compares with; with
# `onnx`, what tests/onnx/export.py needs.
#
#     benches/setup-peers.sh [all|onnx]
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
if [[ "${1:-}" == all ]]; then
    "${pip[@]}" install --quiet --no-cache-dir foolbox==3.3.4 adversarial-robustness-toolbox==1.20.1 \
        pillow setuptools wheel tornado websocket-client jsonpatch jsonpointer networkx
    # Without dependencies: they ask for another PyTorch, and visdom is imported but never used.
    "${pip[@]}" install --quiet --no-deps torchvision==0.24.0 adv-lib==0.2.8 pyautoattack==0.2.0
    "${pip[@]}" install --quiet --no-deps --no-build-isolation visdom==0.2.4
fi
if [[ "${1:-}" == onnx ]]; then
    "${pip[@]}" install --quiet --no-deps torchvision==0.24.0 timm==1.0.31
    "${pip[@]}" install --quiet --no-cache-dir onnx==1.23.2 onnxscript==0.7.2 safetensors huggingface_hub pyyaml pillow
fi
target/peers/bin/python -c '
import torch, torchattacks
print("torch", torch.__version__, "and torchattacks", torchattacks.__version__, "on", torch.get_num_threads(), "threads")'
