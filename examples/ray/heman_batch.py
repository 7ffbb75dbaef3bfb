"""Encrypted inference with Ray Data: a pool of actors, each with one long-lived `heman batch`.

    python heman_batch.py --model model.plan --keys keys/ --inputs inputs/ --outputs outputs/ --workers 4

An actor starts `heman batch` on a list from standard input. The process loads the plan once, holds the keys that it
has used, and takes paths as they come; the actor hands it a block of paths and waits for their lines in the journal.

Each actor has a folder of its own, `outputs/<worker>`, so that no two of them write to one file. An actor that dies
takes its process along, and loses what it had in work and nothing else: Ray hands its block to another actor, which
reads first what the journals of all others say. So does a new run on the same outputs.
"""

import argparse
import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import uuid

import ray

# prctl(2)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """Called in a new process: Linux kills it when its actor dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def path_of(item):
    """The absolute path that a journal calls so: it doubles backslashes in a name that holds \\xff or the like."""
    path = "/" + item.lstrip("/")
    return path.replace("\\\\", "\\") if re.search(r"\\x[89a-f][0-9a-f]", path) else path


def row_of(path):
    """A path, and why no list can hold it; a name's bytes that are not UTF-8 are written as \\xNN."""
    path = str(pathlib.Path(path).resolve())
    text = os.fsencode(path).decode(errors="backslashreplace")
    refusal = ""
    if text != path:
        refusal = "its name is not UTF-8"
    elif "\n" in path or path.endswith("\r"):
        refusal = "its name has a line break"
    return {"path": text, "refusal": refusal}


def finished(outputs):
    """What is done, by all journals there: from an input's absolute path to the path of its output."""
    done = {}
    for journal in pathlib.Path(outputs).glob("*/journal.jsonl"):
        for line in journal.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # A line that its process had no time to write.
            if entry.get("status") == "done" and "output" in entry:
                output = journal.parent / entry["output"]
                if output.exists():
                    done[path_of(entry["item"])] = str(output)
    return done


class Worker:
    """Holds plan and keys in a process of its own."""

    def __init__(self, heman, model, keys, outputs, options):
        self.folder = pathlib.Path(outputs) / uuid.uuid4().hex
        self.folder.mkdir(parents=True)
        self.journal = self.folder / "journal.jsonl"
        self.read = 0
        self.answers = {path: (output, "") for path, output in finished(outputs).items()}
        self.errors = tempfile.TemporaryFile()
        command = [heman, "batch", "--model", model, "--key", keys, "--input", "-", "--output", self.folder]
        # All paths are absolute: from the root on they are the items' names.
        self.process = subprocess.Popen(
            [*command, *options],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            preexec_fn=die_with_parent,
        )

    def __call__(self, block):
        rows = [(str(path), str(refusal)) for path, refusal in zip(block["path"], block["refusal"])]
        wanted = [path for path, refusal in rows if not refusal]
        try:
            for path in wanted:
                if path not in self.answers:
                    self.process.stdin.write(path.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail()
        while any(path not in self.answers for path in wanted):
            self.follow()
        answers = [("", refusal) if refusal else self.answers[path] for path, refusal in rows]
        return {
            "path": [path for path, _ in rows],
            "output": [output for output, _ in answers],
            "error": [error for _, error in answers],
        }

    def follow(self):
        """Reads what the journal has gained; waits a moment if that is nothing."""
        text = b""
        if self.journal.exists():
            with open(self.journal, "rb") as journal:
                journal.seek(self.read)
                text = journal.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.read += len(whole)
        for entry in map(json.loads, whole.splitlines()):
            # Lines about parts of a file say nothing of the whole of it.
            if "item" in entry and "first" not in entry:
                output = str(self.folder / entry["output"]) if entry["status"] == "done" else ""
                self.answers[path_of(entry["item"])] = (output, entry.get("error", ""))
        if not whole:
            if self.process.poll() is not None:
                self.fail()
            time.sleep(0.05)

    def fail(self):
        """heman itself has ended: Ray sees an actor that died, and starts another one for its block."""
        self.process.wait()
        self.errors.seek(0)
        print(self.errors.read().decode(errors="replace"), flush=True)
        os._exit(1)


def run(inputs, model, keys, outputs, heman="heman", workers=2, block=16, options=()):
    """Evaluates encrypted inputs; gives a dataset with a path, an output and an error each."""
    model, keys, outputs = (str(pathlib.Path(path).resolve()) for path in (model, keys, outputs))
    rows = [row_of(path) for path in inputs]
    data = ray.data.from_items(rows, override_num_blocks=max(1, -(-len(rows) // block)))
    return data.map_batches(
        Worker,
        fn_constructor_args=(heman, model, keys, outputs, list(options)),
        batch_size=block,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=workers),
        # For a GPU each: num_gpus=1.
        num_cpus=1,
        # A worker that dies is started again, and what it had in work is done again.
        max_restarts=-1,
        max_task_retries=-1,
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--keys", required=True)
    arguments.add_argument("--inputs", required=True)
    arguments.add_argument("--outputs", required=True)
    arguments.add_argument("--heman", default="heman")
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--block", type=int, default=16, help="inputs that a worker is handed at a time")
    arguments.add_argument("options", nargs="*", help="for heman batch, behind --, like -- --device cuda")
    given = arguments.parse_args()
    inputs = sorted(path for path in pathlib.Path(given.inputs).iterdir() if path.is_file())
    table = run(inputs, given.model, given.keys, given.outputs, given.heman, given.workers, given.block, given.options)
    failed = 0
    for row in table.iter_rows():
        print(json.dumps(row), flush=True)
        failed += bool(row["error"])
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
