"""Compares APGD and APGD-T with the official code (as packaged by pyautoattack), AdvLib and ART, any iterate with any iterate.

    REALSAFE_DATA=... realsafe-spec run specs/agreement/apgd.toml --out results/apgd
    REALSAFE_DATA=... target/peers/bin/python benches/agreement_apgd.py results/apgd/samples.csv

Every row is the robust accuracy after equal iterations on the same images, the mean over the seeds with the standard error that
comes from them, and propagations per image. `bar` is the best peer plus half a point and two standard errors of the
difference. reports/agreement/apgd.md says what came out.
"""

import argparse
import math
import statistics

import numpy
import torch
from torch import nn

from networks import images, load, rows

MODEL = "cifar10-resnet4b-adv"
SEEDS = (0, 1, 2)
TARGETS = 9
# Name and value in specs, and the value as a number.
THREATS = (("linf", "2/255", 2 / 255), ("l2", "0.25", 0.25), ("l1", "4", 4.0))
# Attack of the spec: loss, steps, whether it has targets, whether it starts with large radii.
ATTACKS = {
    "apgd-ce": ("ce", 100, False, False),
    "apgd-dlr": ("dlr", 100, False, False),
    "apgd-ce-large": ("ce", 100, False, True),
    "apgd-t": ("dlr", 20, True, False),
    "apgd-t-large": ("dlr", 20, True, True),
}


class Counted(nn.Module):
    """A network that counts the images it is given."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.forwards = 0

    def forward(self, x):
        self.forwards += len(x)
        return self.network(x)


def official(model, x, y, norm, eps, attack, seed):
    """The official code: its attacks re-seed themselves."""
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    loss, steps, targeted, large = attack
    common = {"n_iter": steps, "norm": norm.replace("l", "L", 1), "eps": eps, "seed": seed, "use_largereps": large,
              "device": "cpu"}
    if targeted:
        return APGDAttack_targeted(model, n_target_classes=TARGETS, **common).perturb(x, y)
    return APGDAttack(model, loss=loss, **common).perturb(x, y)


def advlib(model, x, y, norm, eps, attack, seed):
    """AdvLib's attacks begin anew on what is left, too."""
    from adv_lib.attacks.auto_pgd import apgd, apgd_targeted

    loss, steps, targeted, large = attack
    torch.manual_seed(seed)
    common = {"eps": eps, "norm": {"linf": math.inf, "l2": 2, "l1": 1}[norm], "n_iter": steps, "loss_function": loss,
              "use_large_reps": large}
    if targeted:
        return apgd_targeted(model, x, y, num_targets=TARGETS, **common)
    return apgd(model, x, y, **common)


def art(model, x, y, norm, eps, attack, seed):
    """ART's attack, which has neither targets in turn nor large radii."""
    from art.attacks.evasion import AutoProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    loss, steps, targeted, large = attack
    if targeted or large:
        return None
    numpy.random.seed(seed)
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0),
                                   device_type="cpu")
    attack = AutoProjectedGradientDescent(
        classifier, norm={"linf": "inf", "l2": 2, "l1": 1}[norm], eps=eps, eps_step=2 * eps, max_iter=steps,
        nb_random_init=1, batch_size=len(x), verbose=False,
        loss_type={"ce": "cross_entropy", "dlr": "difference_logits_ratio"}[loss])
    return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def survivors(model, x, y, found, norm, eps):
    """Which images keep their class; changes that leave ball or box count as none."""
    change = (found - x).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(p=int(norm[1]), dim=1)
    outside = (size > eps * (1 + 1e-4)) | (found.flatten(1).amin(1) < 0) | (found.flatten(1).amax(1) > 1)
    with torch.no_grad():
        kept = (model.network(found).argmax(1) == y) | outside
        right = model.network(x).argmax(1) == y
    # What is misclassified without a change is broken.
    return (kept & right).double().numpy()


def summary(runs):
    """Mean accuracy in percent over seeds, and its standard error from them; `runs[seed][image]`."""
    means = 100 * numpy.mean(runs)
    spread = [statistics.variance(image) for image in zip(*runs)] if len(runs) > 1 else [0.0]
    return means, 100 * math.sqrt(sum(spread) / len(runs)) / len(spread)


def ours(path, norm, eps, name, count):
    """Our runs of an attack on the first images, and propagations per image."""
    found = [row for row in rows(path, model=MODEL, norm=norm, eps=eps, attack=name) if int(row["sample"]) < count]
    runs = [[float(row["status"] != "broken") for row in found if row["seed"] == str(seed)] for seed in SEEDS]
    runs = [run for run in runs if run]
    return runs, sum(int(row["forwards"]) for row in found) / len(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", help="samples.csv of a run of specs/agreement/apgd.toml")
    parser.add_argument("--norms", nargs="+", default=["linf", "l2", "l1"])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS), choices=ATTACKS)
    parser.add_argument("--peers", nargs="+", default=["official", "advlib", "art"])
    parser.add_argument("--count", type=int, default=200, help="images (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = Counted(load(MODEL))
    x, y = images(MODEL, arguments.count)
    peers = [peer for peer in (official, advlib, art) if peer.__name__ in arguments.peers]
    print("| norm | eps | attack | library | robust accuracy | forwards per image | bar |")
    print("|---|---|---|---|---|---|---|")
    for norm, written, eps in THREATS:
        for name in ATTACKS:
            if norm not in arguments.norms or name not in arguments.attacks or (ATTACKS[name][3] and norm != "l1"):
                continue
            lines, summaries = [], []
            for peer in peers:
                model.forwards, theirs = 0, []
                for seed in SEEDS:
                    found = peer(model, x, y, norm, eps, ATTACKS[name], seed)
                    if found is None:
                        break
                    theirs.append(survivors(model, x, y, found, norm, eps))
                if theirs:
                    peer_mean, peer_error = summary(theirs)
                    summaries.append((peer_mean, peer_error))
                    cost = model.forwards / arguments.count / len(SEEDS)
                    lines.append(f"| {norm} | {written} | {name} | {peer.__name__} | "
                                 f"{peer_mean:.2f} ± {peer_error:.2f} % | {cost:.0f} | |")
            runs, forwards = ours(arguments.samples, norm, written, name, arguments.count)
            mean, error = summary(runs)
            bar = min(peer_mean + 0.5 + 2 * math.hypot(error, peer_error) for peer_mean, peer_error in summaries)
            verdict = "met" if mean <= bar else "**missed**"
            print(f"| {norm} | {written} | {name} | **ours** ({len(runs)} seeds) | {mean:.2f} ± {error:.2f} % | "
                  f"{forwards:.0f} | {bar:.2f} %, {verdict} |")
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
