#!/usr/bin/env python3
"""Repeats the lattice estimator's figures for the parameters that heman's planners can emit.

    security/estimate            # installs what it needs to target/estimator, then runs this
    security/estimate --step 8   # every 8th dimension of the small key only

An LWE sample of dimension n modulo q with secrets and errors of given distributions is all that the estimator sees:
ring structure is not credited to the attacker. For each instance it prints the least of three attacks (primal with
usvp, primal with bdd, dual hybrid), in bits, under the cost model MATZOV, and beside it core-SVP, classical
(0.292 beta) and quantum (0.265 beta), for the block size beta of the primal attack.
"""

import argparse
import json
import sys
import time
from math import log2, sqrt

import sage.all as sage

# The parts of Sage that come with passagemath hide these behind a package of symbolic algebra.
for name, value in {"pi": sage.RR.pi(), "e": sage.RR(1).exp(), "euler_gamma": sage.RR.euler_constant()}.items():
    if not hasattr(sage, name):
        setattr(sage, name, value)

from estimator import LWE, ND, RC  # noqa: E402

# core/src/tfhe/planner/search.rs: shapes() and all_sets(); core/src/tfhe/params/set.rs: MOST_GROUPING.
SMALL_DIMENSIONS = range(540, 1101, 10)
MOST_GROUPING = 3
DEGREES, RANKS = [2**log2_size for log2_size in range(8, 15)], range(1, 9)
# core/src/ckks/params/set.rs: MOST_MODULUS_BITS.
CKKS = {12: 106, 13: 214, 14: 430, 15: 868, 16: 1747, 17: 3523}
REQUIRED_BITS = 128


def tuniform_deviation(bound_log2):
    """Standard deviation of TUniform(b) over the integers."""
    return sqrt((2 ** (2 * bound_log2 + 1) + 1) / 6)


def smallest_noise_bound(dimension, log2_q):
    """core/src/tfhe/params/security.rs: the least b on or above both curves."""
    for bound in range(4, log2_q):
        tuniform = (bound - log2_q - 4.100671) / -0.025167785
        gaussian = (log2(tuniform_deviation(bound)) - log2_q - 2.675931372549016) / -0.025696778711484593
        if dimension >= max(tuniform, gaussian):
            return bound
    raise ValueError(f"no noise makes dimension {dimension} modulo 2^{log2_q} secure")


def instances(step):
    """Every (what, LWE parameters) that a plan can ask for."""
    small = {-(-n // g) * g for n in SMALL_DIMENSIONS[::step] for g in range(1, MOST_GROUPING + 1)}
    big = {k * size for size in DEGREES for k in RANKS if k * size >= 1280 and (k == 1 or k * size <= 4096)}
    for what, dimensions, log2_q in [("keyswitch", small, 32), ("bootstrap", big, 64), ("input", big, 32)]:
        for dimension in sorted(dimensions):
            bound = smallest_noise_bound(dimension, log2_q)
            error = ND.DiscreteGaussian(tuniform_deviation(bound))
            params = LWE.Parameters(n=dimension, q=2**log2_q, Xs=ND.Uniform(0, 1), Xe=error)
            yield f"TFHE {what}, d = {dimension}, q = 2^{log2_q}, b = {bound}", params
    for log2_degree, bits in CKKS.items():
        params = LWE.Parameters(n=2**log2_degree, q=2**bits, Xs=ND.Uniform(-1, 1), Xe=ND.DiscreteGaussian(3.2))
        yield f"CKKS, N = 2^{log2_degree}, log2(QP) = {bits}", params


def bits(cost):
    return float(log2(cost["rop"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=int, default=1, help="take every STEP-th dimension of the small key")
    parser.add_argument("--only", default="", help="only instances whose name contains this")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each instance")
    args = parser.parse_args()
    least = {}
    for what, params in instances(args.step):
        if args.only not in what:
            continue
        start = time.monotonic()
        usvp = LWE.primal_usvp(params, red_cost_model=RC.MATZOV)
        attacks = {
            "usvp": bits(usvp),
            "bdd": bits(LWE.primal_bdd(params, red_cost_model=RC.MATZOV)),
            "dual hybrid": bits(LWE.dual_hybrid(params, red_cost_model=RC.MATZOV)),
        }
        attack, found = min(attacks.items(), key=lambda item: item[1])
        beta = int(usvp["beta"])
        line = {"what": what, "bits": round(found, 1), "attack": attack, "beta": beta}
        line["core_svp"], line["core_svp_quantum"] = round(0.292 * beta, 1), round(0.265 * beta, 1)
        if args.json:
            print(json.dumps(line), flush=True)
        else:
            seconds = time.monotonic() - start
            print(f"{found:6.1f} bits by {attack:11} core-SVP {line['core_svp']:6.1f}, quantum"
                  f" {line['core_svp_quantum']:6.1f}   {what} ({seconds:.0f} s)", flush=True)
        scheme = what[:4]
        least[scheme] = min(least.get(scheme, found), found)
    print("least: " + ", ".join(f"{scheme} {found:.1f}" for scheme, found in least.items()), file=sys.stderr)
    return 0 if least and min(least.values()) >= REQUIRED_BITS else 1


if __name__ == "__main__":
    sys.exit(main())
