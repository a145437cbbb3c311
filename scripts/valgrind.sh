#!/usr/bin/env bash
# Runs the tests of the plugin ABI, its SDK and its host, and the example plugins, in this process and in workers, under
# valgrind's memcheck. Fails on any invalid access or use of uninitialised memory. Needs valgrind; takes some minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# Compilers and cargo are not what is tested. Worker processes are, so every process has a log of its own.
checker="valgrind --quiet --trace-children=yes --trace-children-skip=*/cc,*gcc*,*cc1,*/as,*/ld*,*collect2,*/true,*/cargo,*rustc* \
--log-file=$logs/%p.log"
# One test kills its worker by a write to address 0, on purpose; memcheck is right to complain.
CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$checker \
    cargo test --release -p realsafe-abi -p realsafe-plugin -p realsafe-host --lib --tests -- --skip what_kills_a_worker

if cat "$logs"/*.log | grep -q .; then
    cat "$logs"/*.log
    echo "error: valgrind complains" >&2
    exit 1
fi
echo "valgrind: no findings in $(ls "$logs" | wc -l) processes"
