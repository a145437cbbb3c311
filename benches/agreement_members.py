"""Runs every member of AutoAttack standard on its own in the official code (as packaged by pyautoattack), beside ours.

    REALSAFE_DATA=... realsafe-spec run specs/agreement/members-resnet4b.toml --out results/members-resnet4b
    REALSAFE_DATA=... target/peers/bin/python benches/agreement_members.py cifar10-resnet4b-adv results/members-resnet4b/samples.csv

Robust accuracy in percent, the mean over the seeds with the standard error that comes from them, and images sent forward and backward
per image. `bar` is half a point and two standard errors of the difference above the official one. reports/agreement/autoattack.md
says what came out.
"""

import argparse
import math

import torch
from pyautoattack import AutoAttack

from agreement_apgd import Counted, summary, survivors
from networks import images, load, rows

# Networks, and on how many images within which radius: those of specs/agreement/autoattack-*.toml.
SETTINGS = {
    "cifar10-resnet4b-adv": (100, 2 / 255),
    "cifar10-resnet20-pgd-at": (200, 8 / 255),
    "mnist-lenet5-pgd-at": (100, 0.3),
}
MEMBERS = ("apgd-ce", "apgd-t", "fab-t", "square")


def official(model, x, y, eps, member, seed):
    """The images that one member finds, on all images that are classified correctly."""
    attack = AutoAttack(model, norm="Linf", eps=eps, seed=seed, version="standard")
    attack.attacks_to_run = [member]
    attack.verbose = False
    found = attack.run_standard_evaluation(x, y, batch_size=len(x))
    return found[0] if isinstance(found, tuple) else found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=SETTINGS)
    parser.add_argument("samples", help="samples.csv of a run of specs/agreement/members-*.toml")
    parser.add_argument("--members", nargs="+", default=list(MEMBERS), choices=MEMBERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    count, eps = SETTINGS[arguments.network]
    model = Counted(load(arguments.network))
    x, y = images(arguments.network, count)
    print("| member | ours | forwards | backwards | official | forwards | bar |")
    print("|---|---|---|---|---|---|---|")
    for member in arguments.members:
        model.forwards, theirs = 0, []
        for seed in arguments.seeds:
            theirs.append(survivors(model, x, y, official(model, x, y, eps, member, seed), "linf", eps))
        peer, peer_error = summary(theirs)
        forwards = model.forwards / count / len(arguments.seeds)
        found = rows(arguments.samples, attack=member)
        # FAB-T looks for the smallest distance, whatever the radius.
        robust = lambda row: row["status"] != "broken" or float(row["dist_linf"]) > eps + 1e-6
        runs = [[float(robust(row)) for row in found if row["seed"] == str(seed)] for seed in arguments.seeds]
        mean, error = summary(runs)
        bar = peer + 0.5 + 2 * math.hypot(error, peer_error)
        spent = [sum(int(row[column]) for row in found) / len(found) for column in ("forwards", "backwards")]
        print(f"| {member} | {mean:.2f} ± {error:.2f} | {spent[0]:.0f} | {spent[1]:.0f} | {peer:.2f} ± {peer_error:.2f} | "
              f"{forwards:.0f} | {bar:.2f}, {'met' if mean <= bar else '**missed**'} |", flush=True)


if __name__ == "__main__":
    main()
