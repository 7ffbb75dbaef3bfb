# Lists the recipes.
default:
    @just --list

# Formatting and lints, nothing run.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# All tests.
test:
    cargo test --workspace

# All benches, or those whose id contains FILTER.
bench FILTER="":
    cargo bench --package heman-benches -- {{FILTER}}

# The operator tests of the ONNX standard, from FOLDER or from the Python package onnx 1.17.0.
onnx-conformance FOLDER="":
    #!/bin/sh
    set -eu
    folder="{{FOLDER}}"
    if [ -z "$folder" ]; then
        test -d target/onnx || python3 -m venv target/onnx
        target/onnx/bin/pip install --quiet onnx==1.17.0
        folder=$(target/onnx/bin/python -c "import onnx, os; print(os.path.dirname(onnx.__file__))")/backend/test/data/node
    fi
    cargo run --package heman-import --example onnx_conformance -- "$folder"

# Ends heman batch at so many random moments with kill -9 for either scheme, and checks every output.
batch-kills KILLS="50":
    HEMAN_KILLS={{KILLS}} cargo test --package heman-cli --test batch_resume -- --nocapture kill_9

# Every verb of either scheme with every system call failing, or the process killed there, in turn; 1,000 kills at random moments.
faults:
    HEMAN_FAULTS=all HEMAN_KILLS=1000 cargo test --package heman-cli --test faults -- --nocapture

# COUNT mutated files through every parser in this process, and counts what becomes of them; KIND takes a part of a name.
mutations COUNT="1000000" KIND="":
    HEMAN_MUTATIONS={{COUNT}} HEMAN_KIND={{KIND}} cargo test --release --package heman-hostile --test mutations -- --nocapture

# COUNT mutated files through the binary.
hostile-files COUNT="20000":
    HEMAN_FILES={{COUNT}} cargo test --release --package heman-cli --test hostile -- --nocapture

# Fuzzes a kind of file for so many seconds; needs cargo-fuzz and a nightly compiler. The kinds: `ls fuzz/fuzz_targets`.
fuzz KIND="params_tfhe" SECONDS="3600":
    cargo run --package heman-hostile --example seeds -- fuzz/corpus
    cargo +nightly fuzz run --fuzz-dir fuzz {{KIND}} -- -max_total_time={{SECONDS}} -rss_limit_mb=1024 -timeout=10 -max_len=1048576

# Classifies handwritten digits under encryption.
demo:
    cargo run --release -- demo

# The same on the first wgpu adapter, a software one as well: all digits by CKKS, one by TFHE.
demo-wgpu:
    cargo run --release -- demo --scheme ckks --device wgpu
    cargo run --release -- demo --scheme tfhe --device wgpu --number 1

# Keyswitch and bootstrap beside tfhe-rs in one run.
ratio:
    cargo run --release --package heman-benches --bin pbs_ratio

# What the release binary promises for the exported models of a manifest, beside what comes of it.
exports MANIFEST *FLAGS:
    cargo build --release
    cargo run --release --package heman-benches --bin exports -- {{MANIFEST}} target/release/heman {{FLAGS}}

# Predicted beside measured time by stage on the host, for the models of a manifest; plans go to FOLDER.
predictions MANIFEST FOLDER *FLAGS:
    cargo build --release
    python3 benches/predictions.py target/release/heman {{MANIFEST}} {{FOLDER}} {{FLAGS}}

# What an input costs in batches of 1 to 1,024, by default of the demo model, and the plot of it; needs numpy.
batch-cost FOLDER MODEL="demo/digits.onnx" CALIBRATION="demo/calibration.npz" *FLAGS:
    cargo build --release
    python3 benches/batch_cost.py target/release/heman {{MODEL}} {{CALIBRATION}} {{FOLDER}} {{FLAGS}}

# All entries of the public FHE benchmark, sizes 0 to 3, three runs each, in HARNESS, a clone of its harness; results go to target/fhe-benchmark.
fhe-benchmark HARNESS *FLAGS:
    python3 benches/fhe_benchmark/run.py {{HARNESS}} {{FLAGS}}

# A CKKS bootstrap of full size: precision, levels left, time and size of the keys; takes a minute and 6 GiB of memory.
bootstrap:
    cargo test --release --package heman-client --test bootstrap -- --ignored --nocapture

# Trains the demo model again and prints its accuracy.
train:
    test -d demo/.venv || python3 -m venv demo/.venv
    demo/.venv/bin/pip install --quiet --requirement demo/requirements.txt
    demo/.venv/bin/python demo/train.py

# Compiles the CUDA kernels to kernels/images; with --check, fails if their sources are others; with --again, if they compile to others.
kernels *FLAGS:
    kernels/compile {{FLAGS}}

# Everything that a GPU host without Rust needs, in .gpu-bundle (its run.sh takes parts and a folder); --tfhe adds the comparison with tfhe-rs's GPU backend, DATA is a folder
# with HE-MAN's models and data.
gpu-bundle *FLAGS_AND_DATA:
    cuda/bundle {{FLAGS_AND_DATA}}

# Keyswitch and bootstrap beside tfhe-rs's GPU backend, for a GPU host of this compute capability: target/release/tfhe_gpu_ratio.
tfhe-gpu ARCHITECTURE="90":
    benches/tfhe_gpu {{ARCHITECTURE}}

# The emulated CUDA kernels under the address sanitizer, then with real threads under the thread sanitizer.
sanitize:
    cuda/sanitize

# Documentation of our crates, warnings as errors.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Licences and sources of all crates, then their known vulnerabilities by the RustSec database.
audit:
    security/deny
    security/install cargo-audit
    target/tools/bin/cargo-audit audit

# A bill of materials of the command: cli/heman-cli.cdx.json.
sbom:
    cargo install --quiet --locked --root target/tools cargo-cyclonedx@0.5.9
    PATH="$PWD/target/tools/bin:$PATH" cargo cyclonedx --format json --spec-version 1.5 --manifest-path cli/Cargo.toml

# The lattice estimator over every parameter set that the planners can emit; takes an hour.
estimate *FLAGS:
    security/estimate {{FLAGS}}

# What must pass before a merge.
ci:
    .ci/run
