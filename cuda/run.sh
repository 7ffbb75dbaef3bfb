#!/usr/bin/env bash
# Correctness, noise, real encrypted inference and times of a GPU host's device, in parts that each end within 8 minutes.
#
#   run.sh [PART]... [OUT]
#
# PART: device correctness tfhe exact ckks compare models wgpu; without one, all of them in this order
# OUT:  folder for what is found, with a / in its name; default: ./results. Where it ends in .tar.gz it is one file,
#       packed anew after every check
#
# Every check writes its text and JSON as it goes, and a line to OUT/manifest.tsv: part, check, ok or FAILED or skipped,
# seconds. A check that takes too long is ended, and the next one runs. While a part runs, clocks, power and temperature
# are sampled every 0.2 s to OUT/PART-clocks.csv, where nvidia-smi is there. Ends with status 1 if anything was wrong.
#
# HEMAN_PART_SECONDS, HEMAN_CHECK_SECONDS: limits of a part (470) and of a check in it (300).
set -uo pipefail
cd "$(dirname "$0")" || exit 1
self=$PWD/$(basename "$0")

all=(device correctness tfhe exact ckks compare models wgpu)
limit_s=${HEMAN_PART_SECONDS:-470}
check_s=${HEMAN_CHECK_SECONDS:-300}

is_part() {
    local part
    for part in "${all[@]}"; do [[ $part == "$1" ]] && return 0; done
    return 1
}

# inside PART OUT ARCHIVE: runs a part's checks; the outer call bounds its time.
inside=
archive=
if [[ ${1:-} == --inside ]]; then
    inside=$2
    out=$3
    archive=$4
else
    parts=()
    while [[ $# -gt 0 ]] && is_part "$1"; do
        parts+=("$1")
        shift
    done
    out=${1:-./results}
    if [[ $# -gt 1 || $out != */* ]]; then
        echo "run.sh [PART]... [OUT]; parts are ${all[*]}, and OUT holds a /" >&2
        exit 2
    fi
    [[ ${#parts[@]} -gt 0 ]] || parts=("${all[@]}")
    if [[ $out == *.tar.gz ]]; then
        mkdir -p "$(dirname "$out")" || exit 1
        archive=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
        out=$(mktemp -d) || exit 1
    fi
fi
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd) || exit 1
manifest=$out/manifest.tsv
running=$out/running
status=0

note() {
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$manifest"
    pack
}
# Whoever ends this in the middle finds the archive of the check before.
pack() {
    [[ -z $archive ]] || { tar -czf "$out.packed" -C "$out" . && mv "$out.packed" "$archive"; }
}
failed() {
    echo "FAILED: $*" >&2
    status=1
}
skip() {
    echo "skipped: $2 ($1)"
    note "$inside" "$1" "skipped: $2" 0
}
# keep FILE COMMAND...: runs a command, keeps its output in a file, and notes whether it succeeded.
keep() {
    local name=$1 start=$SECONDS
    local file=$out/$1 ended
    shift
    echo "$name" >"$running"
    # In the foreground: what ends the part ends the check as well.
    timeout --foreground --kill-after=5 "$check_s" "$@" >"$file" 2>"$file.err"
    ended=$?
    rm -f "$running"
    if [[ -s $file.err ]]; then cat "$file.err" >&2; else rm -f "$file.err"; fi
    case $ended in
        0) note "$inside" "$name" ok $((SECONDS - start)) ;;
        124 | 137)
            note "$inside" "$name" "FAILED: not done in $check_s s" $((SECONDS - start))
            failed "$name is not done in $check_s s: $*"
            ;;
        *)
            note "$inside" "$name" FAILED $((SECONDS - start))
            failed "$name: $*"
            ;;
    esac
    [[ $name == *.json ]] || cat "$file"
}
# agreement FILE LEAST: fails unless the share of answers like the plaintext model's is at least so high.
agreement() {
    local found
    found=$(sed -n 's/.*"agreement": *\([0-9.e-]*\).*/\1/p' "$out/$1" | head -n 1)
    echo "$1: agreement ${found:-unknown}"
    if awk -v found="${found:-0}" -v least="$2" 'BEGIN { exit !(found >= least) }'; then
        note "$inside" "agreement of $1" ok 0
    else
        note "$inside" "agreement of $1" FAILED 0
        failed "agreement ${found:-unknown} in $1"
    fi
}
# demo FILE FLAG...: digits under encryption.
demo() {
    keep "$1" ./heman demo --json "${@:2}"
    agreement "$1" 0.8
}
# model FILE NAME FLAG...: a model on real data under encryption, planned for the device that runs it.
model() {
    if [[ ! -f data/$2.onnx ]]; then
        skip "$1" "no data in this bundle"
        return
    fi
    keep "$1" ./heman evaluate -m "data/$2.onnx" -c data/mnist_calibration_32x32.zip -d data/mnist_test_32x32.npz \
        --json "${@:3}"
    agreement "$1" 0.95
}

part_device() {
    keep commit.txt cat commit
    if command -v nvidia-smi >/dev/null; then
        keep nvidia-smi.txt nvidia-smi -q
    else
        skip nvidia-smi.txt "no nvidia-smi"
    fi
    keep devices.txt ./heman devices
}
part_correctness() {
    keep correctness-doubles.txt env HEMAN_CUDA_TRANSFORM=doubles ./device_report cuda --scheme tfhe --only correctness \
        --json "$out/correctness-doubles-report.json"
    keep correctness-exact.txt env HEMAN_CUDA_TRANSFORM=exact ./device_report cuda --scheme tfhe --only correctness \
        --json "$out/correctness-exact-report.json"
    keep correctness-ckks.txt ./device_report cuda --scheme ckks --only correctness \
        --json "$out/correctness-ckks-report.json"
    demo demo-tfhe.json --scheme tfhe --device cuda
    demo demo-ckks.json --scheme ckks --device cuda
}
part_tfhe() {
    keep tfhe.txt env HEMAN_CUDA_TRANSFORM=doubles ./device_report cuda --scheme tfhe --only times \
        --json "$out/tfhe-report.json"
    keep tfhe-noise.txt env HEMAN_CUDA_TRANSFORM=doubles ./device_report cuda --scheme tfhe --only noise \
        --json "$out/tfhe-noise-report.json"
    # The rates by ring that plans are made by: this file is what keyparams --target takes.
    HEMAN_DEVICES=$out/devices.json keep tfhe-rates.txt ./heman devices --measure --device cuda
}
part_exact() {
    keep exact.txt env HEMAN_CUDA_TRANSFORM=exact ./device_report cuda --scheme tfhe --only times \
        --json "$out/exact-report.json"
    keep exact-noise.txt env HEMAN_CUDA_TRANSFORM=exact ./device_report cuda --scheme tfhe --only noise \
        --json "$out/exact-noise-report.json"
}
part_ckks() {
    keep ckks.txt ./device_report cuda --scheme ckks --only times --json "$out/ckks-report.json"
    local name
    for name in cryptonets lenet5; do
        model "ckks-$name-latency.json" "$name" --scheme ckks --device cuda -n 16
        model "ckks-$name-throughput.json" "$name" --scheme ckks --device cuda --goal throughput
    done
}
part_compare() {
    if [[ -x tfhe_gpu_ratio ]]; then
        keep compare.txt ./tfhe_gpu_ratio --json "$out/compare-report.json"
    else
        skip compare.txt "tfhe-rs's backend is not in this bundle"
    fi
}
part_models() {
    local name number
    for name in cryptonets lenet5; do
        for number in 1 64; do
            model "tfhe-$name-$number.json" "$name" --scheme tfhe --target cuda --device cuda -n "$number"
        done
    done
}
part_wgpu() {
    if ! ./heman devices --json | tr -d ' \n' | grep -q '"hardware":true'; then
        skip wgpu.txt "no hardware adapter"
        return
    fi
    keep wgpu.txt ./device_report wgpu --quick --json "$out/wgpu-report.json"
    HEMAN_DEVICES=$out/wgpu-devices.json keep wgpu-rates.txt ./heman devices --measure --device wgpu
    local scheme
    for scheme in tfhe ckks; do
        demo "wgpu-demo-$scheme.json" --scheme "$scheme" --device wgpu
        model "wgpu-lenet5-$scheme.json" lenet5 --scheme "$scheme" --device wgpu -n 16
    done
}

if [[ -n $inside ]]; then
    "part_$inside"
    exit $status
fi

# By Python where a host has no xz.
unpack() {
    if command -v xz >/dev/null; then
        xz -dkf "$1"
    else
        python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[1][:-3], "wb"))' "$1"
    fi
}
for packed in *.xz; do
    [[ -e $packed ]] || continue
    if [[ ! -x ${packed%.xz} ]]; then unpack "$packed" && chmod +x "${packed%.xz}"; fi
done
sampler=
stop_sampler() {
    if [[ -n $sampler ]]; then
        kill "$sampler" 2>/dev/null
        wait "$sampler" 2>/dev/null
        sampler=
    fi
}
trap stop_sampler EXIT
for part in "${parts[@]}"; do
    echo "== $part"
    if command -v nvidia-smi >/dev/null; then
        nvidia-smi --format=csv --loop-ms=200 \
            --query-gpu=timestamp,index,clocks.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu \
            >"$out/$part-clocks.csv" 2>&1 &
        sampler=$!
    fi
    start=$SECONDS
    timeout --kill-after=5 "$limit_s" bash "$self" --inside "$part" "$out" "$archive"
    ended=$?
    stop_sampler
    inside=$part
    if [[ -e $running ]]; then
        note "$part" "$(cat "$running")" "FAILED: ended with its part" 0
        rm -f "$running"
    fi
    case $ended in
        0) note "$part" "whole part" ok $((SECONDS - start)) ;;
        124 | 137)
            note "$part" "whole part" "FAILED: not done in $limit_s s" $((SECONDS - start))
            failed "$part is not done in $limit_s s"
            ;;
        *)
            note "$part" "whole part" FAILED $((SECONDS - start))
            status=1
            ;;
    esac
done
echo
cat "$manifest"
[[ -z $archive ]] || rm -rf "$out"
exit $status
