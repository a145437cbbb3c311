"""Minimal distances of FAB and FAB-T: the official program (pyautoattack) and AdvLib beside a run of ours.

    target/peers/bin/python benches/agreement_fab.py MODEL [--samples-csv results/samples.csv] [--norms linf l2 l1]

Measures what specs/agreement/fab.toml and specs/agreement/fab-mnist.toml measure. All libraries linearise at the same
points from the same start, so nothing is random; clean errors count as distance 0. For FAB-T the nearest adversarial of
all nine classes is taken, which the official program does not do by itself. Data and weights lie under $REALSAFE_DATA.
"""

import argparse
import math
import statistics
import time

import torch

from networks import NETWORKS, images, load, rows

NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}
ORDERS = {"linf": math.inf, "l2": 2.0, "l1": 1.0}
TARGETS = 9


class Counted(torch.nn.Module):
    """A network that counts the images that it is given and the gradients that are taken of them."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.forwards = self.backwards = 0

    def forward(self, x):
        self.forwards += len(x)
        if x.requires_grad:
            x.register_hook(self.count)
        return self.network(x)

    def count(self, gradient):
        self.backwards += len(gradient)


def official(model, x, y, norm, steps, targeted):
    from pyautoattack.fab_pt import FABAttack_PT

    attack = FABAttack_PT(model, norm=NAMES[norm], n_iter=steps, eps=1e10, device=x.device, targeted=targeted)
    found = []
    for target in range(2, TARGETS + 2) if targeted else [None]:
        attack.target_class = target
        found.append(attack.attack_single_run(x, y, is_targeted=targeted))
    return found


def adv_lib(model, x, y, norm, steps, targeted):
    from adv_lib.attacks import fab

    return [fab(model, x, y, norm=ORDERS[norm], n_iter=steps, targeted_restarts=targeted)]


def distances(model, x, y, found, norm):
    """The smallest distance of each image's adversarials; infinite where there is none, 0 for clean errors."""
    with torch.no_grad():
        wrong = model(x).argmax(1) != y
        smallest = torch.full((len(x),), math.inf)
        for images in found:
            distance = (images - x).double().flatten(1).norm(p=ORDERS[norm], dim=1).float()
            distance[model(images).argmax(1) == y] = math.inf
            smallest = torch.minimum(smallest, distance)
    return torch.where(wrong, torch.zeros(()), smallest).tolist()


def describe(title, found, forwards, backwards, seconds=None):
    quantiles = [sorted(found)[int(len(found) * share)] for share in (0.25, 0.75)]
    failures = sum(math.isinf(distance) for distance in found)
    text = f"  {title:22} median {statistics.median(found):.6f}, quartiles {quantiles[0]:.6f} {quantiles[1]:.6f}"
    text += f", failures {failures}, per image {forwards:.0f} forwards, {backwards:.0f} backwards"
    print(text + (f", {seconds:.0f} s" if seconds else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(NETWORKS))
    parser.add_argument("--samples-csv", help="of a run of the spec, to be put beside the others")
    parser.add_argument("--norms", nargs="+", default=list(ORDERS), choices=list(ORDERS))
    parser.add_argument("--attacks", nargs="+", default=["fab", "fab-t"], choices=["fab", "fab-t"])
    parser.add_argument("--count", type=int, default=100, help="images (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps per start (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = load(arguments.model)
    x, y = images(arguments.model, arguments.count)
    for norm in arguments.norms:
        for attack in arguments.attacks:
            targeted = attack == "fab-t"
            print(f"{attack}, {arguments.model}, {norm}, {arguments.count} images, {arguments.steps} steps")
            if arguments.samples_csv:
                ours = rows(arguments.samples_csv, model=arguments.model, attack=attack, norm=norm)
                ours = [row for row in ours if int(row["sample"]) < arguments.count]
                nearest = [float(row[f"dist_{norm}"]) if row["status"] == "broken" else math.inf for row in ours]
                spent = [sum(int(row[kind]) for row in ours) / len(ours) for kind in ("forwards", "backwards")]
                describe("realsafe-spec", nearest, *spent)
            for title, peer in (("official", official), ("AdvLib", adv_lib)):
                model, start = Counted(network), time.time()
                found = peer(model, x, y, norm, arguments.steps, targeted)
                seconds = time.time() - start
                spent = model.forwards / len(x), model.backwards / len(x)
                describe(title, distances(network, x, y, found, norm), *spent, seconds)


if __name__ == "__main__":
    main()
