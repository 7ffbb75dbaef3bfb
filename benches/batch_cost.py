#!/usr/bin/env python3
"""What an input costs in batches of growing size, for both schemes, and a plot of it.

    batch_cost.py HEMAN MODEL CALIBRATION FOLDER [--counts 1,4,16] [--schemes tfhe,ckks] [--device cpu] [--plot FILE]

HEMAN is the binary. Inputs are those of CALIBRATION (an .npz whose largest array is taken, or an .npy), again and
again. For each number of inputs, one encrypted file of so many is made and `heman batch` evaluates it: its time is that
of the whole process, start, keys and files included. Peak memory and prediction are what it reports itself. A Markdown
table goes to stdout, the plot to an SVG file. Needs numpy.

WRAP in the environment is a command that is put before every timed run, such as a lock or `taskset`.
"""

import argparse
import json
import math
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import numpy

WRAP = shlex.split(os.environ.get("WRAP", ""))
COLOURS = {"tfhe": "#b5541c", "ckks": "#1c6bb5"}


def inputs_of(path):
    loaded = numpy.load(path)
    if isinstance(loaded, numpy.ndarray):
        return loaded
    return max((loaded[name] for name in loaded.files), key=lambda array: array.size)


def measure(heman, folder, plan, inputs, count, device):
    source, sealed, out = folder / "x.npy", folder / "x.enc", folder / "out"
    numpy.save(source, inputs[numpy.arange(count) % len(inputs)].astype("float32"))
    seal = [heman, "encrypt", "-k", folder / "key", "-i", source, "-o", sealed]
    subprocess.run(seal, check=True, capture_output=True)
    shutil.rmtree(out, ignore_errors=True)
    flags = ["--json", "-m", plan, "-k", folder / "key.pub", "-i", sealed, "-o", out, "--device", device]
    start = time.monotonic()
    done = subprocess.run([*WRAP, heman, "batch", *flags], check=True, capture_output=True, text=True)
    return time.monotonic() - start, json.loads(done.stdout)


def plot(series, path):
    """Both axes are logarithmic: inputs to the right, seconds an input upwards."""
    width, height, left, below = 640, 360, 70, 50
    points = [point for own in series.values() for point in own]
    decades = [math.floor(math.log10(min(y for _, y in points))), math.ceil(math.log10(max(y for _, y in points)))]
    most = math.log2(max(x for x, _ in points)) or 1.0

    def place(x, y):
        right = left + math.log2(x) / most * (width - left - 20)
        down = 20 + (decades[1] - math.log10(y)) / (decades[1] - decades[0]) * (height - below - 20)
        return f"{right:.1f},{down:.1f}"

    font = 'font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {font}>'
    parts = [head, f'<rect width="{width}" height="{height}" fill="white"/>']
    for decade in range(decades[0], decades[1] + 1):
        x, y = place(1, 10.0**decade).split(",")
        parts.append(f'<path d="M{x},{y}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{float(y) + 4}" text-anchor="end">{10.0**decade:g} s</text>')
    for count in sorted({x for x, _ in points}):
        x, _ = place(count, 10.0 ** decades[0]).split(",")
        parts.append(f'<text x="{x}" y="{height - below + 18}" text-anchor="middle">{count}</text>')
    parts.append(f'<text x="{(left + width) / 2}" y="{height - 10}" text-anchor="middle">inputs in the batch</text>')
    for scheme, own in series.items():
        colour = COLOURS[scheme]
        line = " ".join(place(x, y) for x, y in own)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in own:
            x, y = place(*point).split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
        x, y = place(*own[0]).split(",")
        parts.append(f'<text x="{float(x) + 10}" y="{float(y) - 6}" fill="{colour}">{scheme.upper()}</text>')
    path.write_text("\n".join([*parts, "</svg>\n"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heman")
    parser.add_argument("model")
    parser.add_argument("calibration")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--counts", default="1,4,16,64,256,1024")
    parser.add_argument("--schemes", default="tfhe,ckks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    heman = str(Path(args.heman).resolve())
    inputs = inputs_of(args.calibration)
    print("| scheme | inputs | seconds of the process | an input | predicted for the evaluation | peak memory |")
    print("|---|---|---|---|---|---|")
    series = {}
    for scheme in args.schemes.split(","):
        folder = args.folder.resolve() / scheme
        folder.mkdir(parents=True, exist_ok=True)
        flags = ["-m", args.model, "-c", args.calibration, "-o", folder / "p.json", "--scheme", scheme]
        subprocess.run([heman, "keyparams", *flags], check=True, capture_output=True)
        make = [heman, "keygen", "--force", "-i", folder / "p.json", "-o", folder / "key"]
        subprocess.run(make, check=True, capture_output=True)
        for count in map(int, args.counts.split(",")):
            spent, told = measure(heman, folder, folder / "p.plan", inputs, count, args.device)
            predicted = told["predicted_seconds"]
            guess = "not known" if predicted is None else f"{predicted:.3g} s"
            memory = f"{told['peak_rss_bytes'] / 2**20:.0f} MiB"
            print(f"| {scheme} | {count} | {spent:.3g} | {spent / count:.3g} s | {guess} | {memory} |", flush=True)
            series.setdefault(scheme, []).append((count, spent / count))
    if args.plot:
        plot(series, args.plot)


if __name__ == "__main__":
    main()
