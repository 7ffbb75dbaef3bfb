#!/usr/bin/env bash
# Builds the program of all stages, links its names, and makes the plans of all sizes.
# Usage: scripts/build_task.sh submissions/mnist
set -euo pipefail
root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
task="$1"
build="$task/build"
if [[ ! -f "$task/entry" ]]; then
    echo "$task holds no submission of heman" >&2
    exit 1
fi

program="${HEMAN_FHE_BENCHMARK:-}"
if [[ -z "$program" ]]; then
    source="$root/third_party/heman"
    cargo build --quiet --release --locked --package heman-fhe-benchmark --manifest-path "$source/Cargo.toml"
    program="${CARGO_TARGET_DIR:-$source/target}/release/fhe_benchmark"
fi
mkdir -p "$build"
if ! cmp --silent "$program" "$build/fhe_benchmark"; then
    cp "$program" "$build/fhe_benchmark.new"
    mv "$build/fhe_benchmark.new" "$build/fhe_benchmark"
fi
for stage in plan_sizes client_key_generation server_preprocess_model client_preprocess_input \
    client_encode_encrypt_input server_encrypted_compute client_decrypt_decode client_postprocess; do
    ln --symbolic --force fhe_benchmark "$build/$stage"
done

# The harness trains its network when it first compares with it. From then on that is the network of the entry `relu`.
trained="$root/harness/mnist/mnist_ffnn_model.pth"
if [[ -f "$trained" && -f "$task/export_harness.py" ]]; then
    python3 "$task/export_harness.py" "$trained" "$build/harness.onnx"
fi
"$build/plan_sizes"
