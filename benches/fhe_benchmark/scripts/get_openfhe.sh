#!/usr/bin/env bash
# The harness asks for this script by its name. This submission does not use OpenFHE; what it depends on is heman, whose
# source must lie in third_party/heman: a checkout, or a link to one. HEMAN_FHE_BENCHMARK may name a program instead
# that was built elsewhere.
set -euo pipefail
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ -z "${HEMAN_FHE_BENCHMARK:-}" && ! -f "$root/third_party/heman/benches/fhe_benchmark/Cargo.toml" ]]; then
    echo "third_party/heman is no checkout of heman; benches/fhe_benchmark/install of a checkout makes the link" >&2
    exit 1
fi
