"""Disturbs small runs in many ways, repeats their commands, and compares them with runs that were left alone.

    python tools/chaos [--cases starts kills ...] [--kills 5] [--restarts 3] [--runs runs/chaos]

A try is answered well if nothing that existed is lost or overwritten, and the same command ends in the same bits or is
refused in one sentence. What is not is named at once; at the end there is a table, and exit status 1 if anything was
named. The networks are too small for their errors to say anything.
"""

import argparse
import functools
import os
import shutil
import sys
import time
from pathlib import Path

import faults
import kills
import races
import random_kills
import sweeps
import workers
from trained import ROOT, Undisturbed, train, train_quickly


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cases = {
        "starts": ("two processes start on a new run directory, 0 to 1.5 s apart", races.starts),
        "claims": ("the first of two is stopped when it is about to claim", races.delayed_claims),
        "claiming": ("killed while claiming", kills.while_claiming),
        "concluding": ("killed while concluding", kills.while_concluding),
        "disks": ("disk full at each file that a run writes", faults.full_disks),
        "clocks": ("clock set back or forward", faults.clocks),
        "sweeps": ("two sweeps share a folder", sweeps.shared_folder),
        "kills": ("killed at random, again and again", random_kills.at_random),
        "workers": ("one of three workers killed at random under load, all started again", workers.restarts),
    }
    parser.add_argument("--cases", nargs="+", default=list(cases), choices=cases)
    parser.add_argument("--kills", type=int, default=20, help="of each run that is killed at random")
    parser.add_argument("--steps", type=int, default=600, help="length of these runs")
    parser.add_argument("--methods", nargs="+", default=random_kills.METHODS, choices=random_kills.METHODS)
    parser.add_argument("--precisions", nargs="+", default=random_kills.PRECISIONS, choices=random_kills.PRECISIONS)
    parser.add_argument("--restarts", type=int, default=10, help="of several workers")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "chaos")
    options = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        shutil.rmtree(options.runs, ignore_errors=True)
    options.runs.mkdir(parents=True, exist_ok=True)
    if set(options.cases) & {"disks", "clocks"} and "LD_PRELOAD" not in os.environ:
        # Anew with the library of faults, which a process gets at its start, and its forks with it.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **faults.preload(options.runs.resolve())})
    whole, quick = (Undisturbed(options.runs.resolve(), start) for start in (train, train_quickly))
    rows, all_well = [], True
    for name in options.cases:
        what, case = cases[name]
        folder = options.runs / name
        folder.mkdir(parents=True)
        arguments = {
            "kills": (options.kills, options.steps, options.methods, options.precisions),
            "workers": (options.restarts,),
            # How a process begins matters to these, and to none of the others.
            **dict.fromkeys(("starts", "claims", "claiming", "sweeps"), (whole,)),
        }.get(name, (quick,))
        tried, well, seconds = _try(name, functools.partial(case, folder.resolve(), *arguments))
        rows.append(f"| {what} | {tried} | {well} | {seconds:.0f} |")
        all_well &= tried == well
    print("\n".join(["| case | tried | answered well | seconds |", "| --- | --- | --- | --- |", *rows]))
    return 0 if all_well else 1


def _try(name, case):
    tried = well = 0
    start = time.monotonic()
    for what, found in case():
        tried += 1
        well += not found
        print(f"{name}: {what}: {found or 'well'}", flush=True)
    return tried, well, time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main())
