"""Runs the entries in a clone of the benchmark's harness and prints a table beside the published figures.

`run.py HARNESS [--entries squared,relu,tfhe] [--sizes 0,1,2,3] [--runs 3] [--output FOLDER]`. The harness needs a Python
with its requirements: the one in HARNESS/bmenv if it is there, else `python3`, or another one by --python. The harness's
JSON files go to FOLDER/<entry>/<size>, the table to FOLDER/table.md.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZES = ("single", "small", "medium", "large")
IMAGES = (1, 100, 1000, 10000)

# Scored seconds, upload and share of right labels by size, as far as they were published. Sources: the README files and
# measurements of the reference (github.com/stamcenter/ml-inference), of CryptoLab's submission
# (github.com/CryptoLabInc/ml-inference) and of Lattica's.
PUBLISHED = {
    "reference, OpenFHE, CPU": [(7.61, "5.0M", None), (647.07, "500.3M", 0.96), (6505.61, "4.9G", 0.974), None],
    "CryptoLab, RTX 5090": [(0.417, "51.2M", None), (0.441, "51.2M", 0.98), (0.424, "51.2M", 0.989), (0.485, "242.5M", 0.9796)],
    "Lattica, GB202, remote": [(1.84, "128K", None), None, None, (5.58, "490M", None)],
}


def chosen():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("harness", type=Path)
    parser.add_argument("--entries", default="squared,relu,tfhe", type=lambda text: text.split(","))
    parser.add_argument("--sizes", default="0,1,2,3", type=lambda text: [int(size) for size in text.split(",")])
    parser.add_argument("--runs", default=3, type=int)
    parser.add_argument("--seed", default=3, type=int)
    parser.add_argument("--python", type=Path)
    parser.add_argument("--output", default=HERE.parent.parent / "target" / "fhe-benchmark", type=Path)
    return parser.parse_args()


def interpreter(options):
    own = options.harness / "bmenv" / "bin" / "python3"
    found = options.python or (own if own.exists() else shutil.which("python3"))
    return Path(os.path.abspath(found))


def named(groups, *words):
    """The first value of nested groups whose name holds all words."""
    for group in groups.values():
        for name, value in group.items() if isinstance(group, dict) else ():
            if all(word in name.lower() for word in words):
                return value
    return None


def seconds(text):
    return float(text.rstrip("s"))


def read_run(path):
    """What the table shows of a JSON file, whose names differ between branches of the harness."""
    run = json.loads(path.read_text())
    quality = named(run, "encrypted model")
    compared = named(run, "harness model")
    return {
        "scored": seconds(named(run, "encrypted", "computation")),
        "key": named(run, "evaluation keys"),
        "upload": named(run, "encrypted input"),
        "download": named(run, "encrypted results"),
        "right": quality and (quality["correct_predictions"], quality["total_samples"]),
        "harness": compared and (compared["correct_predictions"], compared["total_samples"]),
    }


def run_size(options, environment, entry, size):
    """The rows of one size, or none where the entry does not run it."""
    entry_file = json.loads((HERE / "submissions" / "mnist" / "entries" / f"{entry}.json").read_text())
    if SIZES[size] not in entry_file["sizes"]:
        return None
    python = str(interpreter(options))
    command = [python, "harness/run_submission.py", str(size), "--seed", str(options.seed), "--num_runs", str(options.runs)]
    described = subprocess.run([python, "harness/run_submission.py", "--help"], cwd=options.harness, env=environment, capture_output=True, text=True)
    # Older branches name the folder by the model, newer ones by the data set.
    command += ["--model", "mnist"] if "--model" in described.stdout else []
    measured = options.harness / "measurements" / SIZES[size]
    shutil.rmtree(measured, ignore_errors=True)
    subprocess.run(command, cwd=options.harness, env=environment, check=True)
    target = options.output / entry / SIZES[size]
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(measured, target)
    io = options.harness / "io" / SIZES[size]
    steps = io / "server_reported_steps.json"
    if steps.exists():
        shutil.copy(steps, target)
    runs = [read_run(path) for path in sorted(target.glob("results-*.json"))]
    row = dict(runs[-1], scored=statistics.mean(run["scored"] for run in runs))
    row["steps"] = json.loads(steps.read_text()) if steps.exists() else {}
    if row["right"] is None:
        labels = options.harness / "datasets" / SIZES[size] / "intermediate" / "test_labels.txt"
        predicted = (io / "encrypted_model_predictions.txt").read_text().split()
        right = sum(one == other for one, other in zip(predicted, labels.read_text().split()))
        row["right"] = (right, len(predicted))
    return row


def share(pair):
    return "" if pair is None else f"{pair[0]} of {pair[1]}"


def table(rows, runs):
    lines = [
        f"Mean of {runs} runs of the unchanged harness; seconds are those of the whole process that evaluates.",
        "",
        "| entry | images | scored s | upload | download | key | right | harness's network right |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (entry, size), row in rows.items():
        cells = [f"**heman, {entry}**", f"{IMAGES[size]:,}", f"**{row['scored']:.3f}**", row["upload"], row["download"], row["key"]]
        lines.append("| " + " | ".join([*cells, share(row["right"]), share(row["harness"])]) + " |")
    for name, sizes in PUBLISHED.items():
        for images, published in zip(IMAGES, sizes):
            if published:
                scored, upload, right = published
                lines.append(f"| {name} | {images:,} | {scored} | {upload} | | | {'' if right is None else f'{right:.2%}'} | |")
    lines += ["", "Parts of the last run, in milliseconds:", ""]
    for (entry, size), row in rows.items():
        parts = ", ".join(f"{name.lower()} {1e3 * spent:.1f}" for name, spent in row["steps"].items())
        lines.append(f"- {entry}, {IMAGES[size]:,}: {parts}")
    return "\n".join(lines) + "\n"


def main():
    options = chosen()
    options.harness = options.harness.resolve()
    # The harness starts its own scripts as `python3`.
    folder = interpreter(options).parent
    environment = dict(os.environ, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")
    rows = {}
    for entry in options.entries:
        subprocess.run([HERE / "install", options.harness, entry], check=True)
        for size in options.sizes:
            row = run_size(options, environment, entry, size)
            if row is not None:
                rows[entry, size] = row
    text = table(rows, options.runs)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    sys.exit(main())
