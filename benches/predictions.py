#!/usr/bin/env python3
"""Predicted beside measured time, stage by stage, on the host, for the models of a manifest.

    predictions.py HEMAN MANIFEST FOLDER [--rounds N] [--seconds S] [--scheme SCHEME] [--goal GOAL] [--only TEXT]

HEMAN is the binary; MANIFEST a JSON list of objects with `name`, `model` and `calibration`, whose files are named from
its folder; plans go to FOLDER and are used again. Each round measures the host as `heman devices --measure` does, into
a profile of its own, and then runs every plan for S seconds with `heman bench`. A machine that others use as well is
now fast and now slow: of every stage the round counts whose passes took least on average, and of the profiles the
fastest rates. So both sides are usual times of a machine that is left alone (a sum of the fastest stages, which may be
of different rounds). A Markdown table goes to stdout; what the rounds measured is kept in FOLDER/measured.json, so that
rounds of another day may be added to those of the same binary, host and goal.

WRAP in the environment is a command that is put before every run, such as a lock or `taskset`.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

WRAP = shlex.split(os.environ.get("WRAP", ""))
# A stage of a smaller share of the whole is left out of the summary: it is shorter than what a timer's noise allows.
LEAST_SHARE = 0.05


def run(heman, args, profile=None, seconds=1200):
    environment = dict(os.environ)
    if profile is not None:
        environment["XDG_CONFIG_HOME"] = str(profile)
    done = subprocess.run([*WRAP, heman, *args], capture_output=True, text=True, env=environment, timeout=seconds)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no word"]
        raise RuntimeError(lines[-1])
    return done.stdout


def fastest(profiles):
    """The profile with the highest rates of all. Times of single steps are differences, too long as often as too short."""

    def merge(values, name=""):
        first = values[0]
        if isinstance(first, dict):
            return {key: merge([value[key] for value in values], key) for key in first}
        if isinstance(first, list):
            # A slow phase of the machine leaves time for fewer rings.
            return [merge(list(own)) for own in zip(*values, strict=False)]
        if isinstance(first, float):
            return statistics.median(values) if name.endswith("_seconds") else max(values)
        return first

    merged = merge(profiles)
    for device, *own in zip(merged["devices"], *[profile["devices"] for profile in profiles], strict=True):
        for scheme in ("tfhe", "ckks"):
            if device.get(scheme):
                device[scheme]["rows"] = round(statistics.median(entry[scheme]["rows"] for entry in own))
    return merged


def plan(heman, entry, root, folder, args):
    base = folder / entry["name"]
    if not base.with_suffix(".plan").exists():
        flags = ["-m", str(root / entry["model"]), "-c", str(root / entry["calibration"])]
        run(heman, ["keyparams", *flags, "-o", f"{base}.json", "--scheme", args.scheme, "--goal", args.goal])
    return base.with_suffix(".plan")


def breakdown_of(report):
    """The breakdown of the most inputs that were taken at a time."""
    return max(report["configurations"][0]["breakdowns"], key=lambda own: own["inputs"])


def predicted(heman, plan, data, inputs, stages, profile, flags):
    """Seconds of every stage by the profile. Nothing is run, but where the inputs would be several passes side by side."""
    timeline = ["--stage", "timeline", "--inputs", str(inputs), "--json"]
    spans = json.loads(run(heman, ["inspect", str(plan), *timeline], profile))["timeline"]["spans"]
    if any(span["pass"] > 0 for span in spans):
        # The shortest run that there is.
        short = [*flags[:2], "--duration", "0.01", *flags[4:]]
        report = json.loads(run(heman, ["bench", "--plan", str(plan), "-d", str(data), *short], profile))
        return [own["predicted_seconds"] or 0.0 for own in breakdown_of(report)["stages"]]
    spent = [0.0] * stages
    for span in spans:
        if span["stage"] is not None:
            spent[span["stage"]] += span["end"] - span["start"]
    return spent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heman")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--scheme", default="auto")
    parser.add_argument("--goal", default="latency")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    heman = str(Path(args.heman).resolve())
    args.folder.mkdir(parents=True, exist_ok=True)
    root = args.manifest.parent
    entries = [entry for entry in json.loads(args.manifest.read_text()) if args.only in entry["name"]]
    plans, refused = {}, {}
    for entry in entries:
        try:
            plans[entry["name"]] = (plan(heman, entry, root, args.folder, args), root / entry["calibration"])
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            refused[entry["name"]] = str(error)
    print(f"{len(plans)} planned, {len(refused)} refused", file=sys.stderr, flush=True)

    scenario = "offline" if args.goal == "throughput" else "single-stream"
    flags = ["--scenario", scenario, "--duration", str(args.seconds), "--json", "--device", "cpu"]
    own = args.folder.resolve() / "profile"
    file = own / "heman" / "devices.json"
    kept = args.folder / "measured.json"
    binary = hashlib.sha256(Path(heman).read_bytes()).hexdigest()
    of = {"binary": binary, "host": platform.node(), "goal": args.goal, "passes": "mean"}
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if known.get("of") != of:
        known = {}
    profiles, measured, schemes = known.get("profiles", []), known.get("measured", {}), known.get("schemes", {})
    inputs = known.get("inputs", {})

    def keep():
        partial = kept.with_suffix(".partial")
        kept_now = {"of": of, "profiles": profiles, "measured": measured, "schemes": schemes, "inputs": inputs}
        partial.write_text(json.dumps(kept_now))
        partial.replace(kept)

    def measure():
        run(heman, ["devices", "--measure", "--device", "cpu"], own)
        profiles.append(json.loads(file.read_text()))
        keep()

    for at in range(args.rounds):
        measure()
        for name, (path, data) in plans.items():
            try:
                report = json.loads(run(heman, ["bench", "--plan", str(path), "-d", str(data), *flags], own))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                refused[name] = str(error)
                continue
            schemes[name] = report["configurations"][0]["parameters"]["scheme"]
            breakdown = breakdown_of(report)
            # No single pass: the luckiest of a thousand says little of the next.
            seconds = [stage["seconds"]["value"] for stage in breakdown["stages"]]
            before = measured.get(name, []) if inputs.get(name) == breakdown["inputs"] else []
            inputs[name] = breakdown["inputs"]
            if len(before) == len(seconds):
                seconds = [min(pair) for pair in zip(before, seconds, strict=True)]
            measured[name] = seconds
            keep()
        print(f"round {at + 1} of {args.rounds}", file=sys.stderr, flush=True)
    measure()
    file.write_text(json.dumps(fastest(profiles)))

    print("| model | scheme | measured s | predicted | stages, predicted over measured (share of the time) |")
    print("|---|---|---|---|---|")
    totals, ratios = [], []
    for name, spent in sorted(measured.items()):
        if name not in plans or name not in inputs:
            continue
        guesses = predicted(heman, *plans[name], inputs[name], len(spent), own, flags)
        whole = sum(spent)
        totals.append(sum(guesses) / whole)
        cells = []
        for guess, seconds in zip(guesses, spent, strict=True):
            share = seconds / whole
            if share >= LEAST_SHARE:
                ratios.append(guess / seconds)
                cells.append(f"{guess / seconds:.2f} ({100 * share:.0f} %)")
        print(f"| {name} | {schemes[name]} | {whole:.4g} | {totals[-1]:.2f} | {', '.join(cells)} |", flush=True)
    for name, error in sorted(refused.items()):
        print(f"| {name} | refused | | | {error[:100]} |")
    if not totals:
        sys.exit("no model was measured")
    for what, values in (("models", totals), ("stages", ratios)):
        within = sum(0.75 <= value <= 1.25 for value in values)
        print(f"\n{what}: {within} of {len(values)} within 25 %, median {statistics.median(values):.2f}", end="")
    print()


if __name__ == "__main__":
    main()
