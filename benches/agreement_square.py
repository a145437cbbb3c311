"""Robust accuracy under the Square attack: the official program (pyautoattack), torchattacks and ART beside a run of ours.

    target/peers/bin/python benches/agreement_square.py MODEL --eps linf=0.0156863 l2=0.5 l1=12 [--samples-csv samples.csv]

Measures what specs/agreement/square.toml and specs/agreement/square-mnist.toml measure, with three seeds. Data and
weights lie under $REALSAFE_DATA.
"""

import argparse
import math
import statistics
import time

import torch

from networks import NETWORKS, images, load, rows

NAMES = {"linf": "Linf", "l2": "L2", "l1": "L1"}
SEEDS = (0, 1, 2)


def official(rescaled):
    def attack(network, x, y, norm, eps, queries, seed):
        from pyautoattack.square import SquareAttack

        # The first candidate is not among the queries that it counts.
        return SquareAttack(network, norm=NAMES[norm], n_queries=queries - 1, eps=eps, seed=seed, device=x.device,
                            resc_schedule=rescaled).perturb(x, y)

    return attack


def torchattacks(network, x, y, norm, eps, queries, seed):
    from torchattacks import Square

    return Square(network, norm=NAMES[norm], eps=eps, n_queries=queries - 1, seed=seed)(x, y)


def art(network, x, y, norm, eps, queries, seed):
    import numpy
    from art.attacks.evasion import SquareAttack
    from art.estimators.classification import PyTorchClassifier

    numpy.random.seed(seed)
    classifier = PyTorchClassifier(network, torch.nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0),
                                   device_type="cpu")
    attack = SquareAttack(classifier, norm={"linf": numpy.inf, "l2": 2}[norm], eps=eps, max_iter=queries - 1,
                          batch_size=len(x), verbose=False)
    return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


PEERS = {
    "official": (official(False), ("linf", "l2", "l1")),
    "official, rescaled": (official(True), ("linf", "l2", "l1")),
    "torchattacks": (torchattacks, ("linf", "l2")),
    "ART": (art, ("linf", "l2")),
}


def describe(title, accuracies, seconds=None):
    mean, error = statistics.mean(accuracies), statistics.stdev(accuracies) / math.sqrt(len(accuracies))
    text = f"  {title:24} robust accuracy {mean:.2f} ± {error:.2f} % ({', '.join(f'{value:.1f}' for value in accuracies)})"
    print(text + (f", {seconds:.0f} s" if seconds else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(NETWORKS))
    parser.add_argument("--eps", nargs="+", required=True, help="radii, such as linf=0.1")
    parser.add_argument("--samples-csv", help="of a run of the spec, to be put beside the others")
    parser.add_argument("--count", type=int, default=100, help="images (%(default)s)")
    parser.add_argument("--queries", type=int, default=200, help="queries per image (%(default)s)")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = load(arguments.model)
    x, y = images(arguments.model, arguments.count)
    for norm, eps in (radius.split("=") for radius in arguments.eps):
        eps = float(eps)
        print(f"square, {arguments.model}, {norm} {eps:g}, {arguments.count} images, {arguments.queries} queries")
        for attack in ("square", "square-rescaled") if arguments.samples_csv else ():
            found = rows(arguments.samples_csv, model=arguments.model, attack=attack, norm=norm)
            accuracies = []
            for seed in SEEDS:
                ours = [row["status"] == "robust" for row in found if int(row["seed"]) == seed]
                accuracies.append(100 * sum(ours) / len(ours))
            describe(f"realsafe-spec, {attack}", accuracies)
        for title in arguments.peers:
            peer, norms = PEERS[title]
            if norm not in norms:
                continue
            start, accuracies = time.time(), []
            for seed in SEEDS:
                found = peer(network, x, y, norm, eps, arguments.queries, seed)
                with torch.no_grad():
                    accuracies.append(100 * (network(found).argmax(1) == y).double().mean().item())
                order = {"linf": math.inf, "l2": 2.0, "l1": 1.0}[norm]
                outside = (found - x).double().flatten(1).norm(p=order, dim=1).max().item() / eps - 1
                if outside > 1e-4 or found.min() < -1e-6 or found.max() > 1 + 1e-6:
                    print(f"  an image of {title} lies outside: {outside:.5f} of eps")
            describe(title, accuracies, time.time() - start)


if __name__ == "__main__":
    main()
