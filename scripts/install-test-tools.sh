#!/usr/bin/env bash
# Installs what some tests need on a Debian machine: for `wgpu` without a GPU the Vulkan loader and lavapipe, Mesa's
# Vulkan driver for CPUs; for scripts/valgrind.sh valgrind. Does nothing where all are there.
set -euo pipefail

packages=(libvulkan1 mesa-vulkan-drivers valgrind)
if dpkg-query --show --showformat='${db:Status-Status}\n' "${packages[@]}" 2>/dev/null |
    grep --count --line-regexp installed | grep --quiet --line-regexp "${#packages[@]}"; then
    echo "${packages[*]}: already there" >&2
    exit
fi
if ! command -v apt-get >/dev/null; then
    echo "error: install the Vulkan loader, Mesa's lavapipe and valgrind (on Debian: ${packages[*]}) by hand" >&2
    exit 69
fi
as_root=()
[[ $EUID -eq 0 ]] || as_root=(sudo)
"${as_root[@]}" apt-get update --quiet
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "${packages[@]}"
