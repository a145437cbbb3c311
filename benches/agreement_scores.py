"""Compares NES, SPSA, NATTACK and ZOO with other programs, at equal queries.

    target/peers/bin/python benches/agreement_scores.py [--samples-csv OUT/samples.csv] [--only spsa nes nattack zoo]

SPSA is that of torchattacks and ZOO that of ART. No library has NES or NATTACK: they are written here in PyTorch as their
authors' programs have them, NES with and without its momentum. Every image that is sent counts; the iterates are looked at too,
without a charge, so that any of them may be the result, as in ours. Printed is the robust accuracy, for ZOO the median distance,
mean over the seeds and its standard error. The specs are specs/agreement/scores*.toml, the results in reports/agreement/scores.md.
"""

import argparse
import math
import statistics
import time
import warnings

import networks
import numpy
import torch

SEEDS = (0, 1, 2)
SAMPLES = 100


def margins(network, x, labels):
    """The largest other logit minus that of the label, for points `[n, samples, ...]`."""
    logits = torch.cat([network(part) for part in x.flatten(0, 1).split(1000)]).unflatten(0, x.shape[:2])
    at = labels.view(-1, 1, 1).expand(-1, x.shape[1], 1)
    return logits.scatter(2, at, -math.inf).amax(2) - logits.gather(2, at).squeeze(2)


class Watch:
    """Remembers which images any iterate broke."""

    def __init__(self, network, x, labels):
        self.network, self.labels = network, labels
        self.broken = network(x).argmax(1) != labels

    def __call__(self, x):
        self.broken |= self.network(x).argmax(1) != self.labels


def torchattacks_spsa(network, clean, labels, eps, queries, rate):
    """`nb_sample` counts pairs."""
    from torchattacks import SPSA

    watch = Watch(network, clean, labels)
    attack = SPSA(network, eps=eps, delta=0.01, lr=rate, nb_iter=queries // SAMPLES, nb_sample=SAMPLES // 2, max_batch_size=16)
    clamp = attack.linf_clamp_

    def watched(change, x, radius):
        change = clamp(change, x, radius)
        watch(x + change)
        return change

    attack.linf_clamp_ = watched
    attack(clean, labels)
    return watch.broken


def nes(network, clean, labels, eps, queries, rate, momentum, samples=SAMPLES):
    """Ilyas et al. 2018: antithetic Gaussian points, the sign of a running mean, a plateau that halves the step."""
    watch, x = Watch(network, clean, labels), clean.clone()
    rates = torch.full((len(x), 1, 1, 1), rate)
    mean, sigma, known = torch.zeros_like(x), 1e-3, [[] for _ in x]
    for _ in range(queries // samples):
        u = torch.randn(len(x), samples // 2, *x.shape[1:])
        u = torch.cat([u, -u], 1)
        rises = margins(network, x[:, None] + sigma * u, labels)
        gradient = (rises.view(*rises.shape, 1, 1, 1) * u).mean(1) / sigma
        mean = momentum * mean + (1 - momentum) * gradient
        for row, rise in enumerate(rises.mean(1).tolist()):
            known[row] = [*known[row], rise][-5:]
            if len(known[row]) == 5 and rise < known[row][0]:
                rates[row] = max(rates[row].item() / 2, 0.01 * rate)
                known[row] = []
        x = x + rates * mean.sign()
        x = torch.minimum(torch.maximum(x, clean - eps), clean + eps).clamp(0, 1)
        watch(x)
    return watch.broken


def nattack(network, clean, labels, eps, queries, rate, samples=SAMPLES):
    """Li et al. 2019: z-scored losses weigh Gaussian noise in the space of tanh; the loss ends at the boundary."""
    watch, sigma = Watch(network, clean, labels), 0.1
    places = torch.atanh((2 * clean - 1) * 0.999999)
    mean = 1e-3 * torch.randn_like(clean)

    def image(change):
        change = (torch.tanh(places[:, None] + change) + 1) / 2 - clean[:, None]
        return clean[:, None] + change.clamp(-eps, eps)

    for _ in range(queries // samples):
        u = torch.randn(len(clean), samples, *clean.shape[1:])
        rewards = margins(network, image(mean[:, None] + sigma * u), labels).clamp(max=0)
        weights = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-7)
        mean = mean + rate / sigma * (weights.view(*weights.shape, 1, 1, 1) * u).mean(1)
        watch(image(mean[:, None])[:, 0])
    return watch.broken


def art_zoo(network, images, labels, queries, rate, constant):
    """ART's ZOO, one image at a time; the nearest adversarial of all that it asks about."""
    from art.attacks.evasion import ZooAttack
    from art.estimators.classification import PyTorchClassifier

    nearest, parallel = torch.full((len(images),), math.inf), 128
    for row, (clean, label) in enumerate(zip(images, labels)):
        if network(clean[None]).argmax() != label:
            nearest[row] = 0
            continue
        asked = 0

        class Classifier(PyTorchClassifier):
            def predict(self, x, batch_size=1, training_mode=False, **_):
                nonlocal asked
                x = torch.from_numpy(numpy.asarray(x, numpy.float32))
                logits, asked = network(x), asked + len(x)
                inside = (x.clamp(0, 1) == x).flatten(1).all(1)
                distance = (x - clean).flatten(1).norm(dim=1)[inside & (logits.argmax(1) != label)]
                if len(distance):
                    nearest[row] = min(nearest[row], distance.min())
                return logits.numpy()

        classifier = Classifier(network, torch.nn.CrossEntropyLoss(), tuple(clean.shape), 10, clip_values=(0.0, 1.0),
                                device_type="cpu")
        attack = ZooAttack(classifier, learning_rate=rate, max_iter=queries // (2 * parallel + 1), binary_search_steps=1,
                           initial_const=constant, abort_early=False, use_resize=False, use_importance=False,
                           nb_parallel=parallel, batch_size=1, variable_h=0.01, verbose=False)
        found = torch.from_numpy(attack.generate(clean[None].numpy(), numpy.eye(10)[[int(label)]]))
        assert asked <= queries
        # It clips what it returns, which may be nearer and adversarial still.
        if network(found).argmax() != label:
            nearest[row] = min(nearest[row], (found - clean).norm())
    return nearest


def peers(eps):
    """Ours, and the names and functions of theirs."""
    quarter = eps / 4
    for rate in (quarter, 0.01):
        name = f"torchattacks, learning rate {rate:.4f}"
        yield "spsa", name, lambda *arguments, rate=rate: torchattacks_spsa(*arguments, rate)
    for momentum in (0.0, 0.9):
        yield "nes", f"authors', momentum {momentum}", lambda *arguments, m=momentum: nes(*arguments, quarter, m)
    for rate in (0.02, 0.008):
        yield "nattack", f"authors', learning rate {rate}", lambda *arguments, rate=rate: nattack(*arguments, rate)


def describe(title, values, seconds=None):
    known = len(values) > 1 and all(map(math.isfinite, values))
    error = statistics.stdev(values) / math.sqrt(len(values)) if known else math.nan
    text = f"  {title:42} {statistics.mean(values):.4f} ± {error:.4f}  ({', '.join(f'{value:.4f}' for value in values)})"
    print(text + (f"  {seconds:.0f} s" if seconds else ""), flush=True)


def ours(path, model, wanted, value):
    found = networks.rows(path, model=model)
    attacks = [attack for attack in dict.fromkeys(row["attack"] for row in found) if attack.startswith(wanted)]
    for attack in attacks:
        rows = [row for row in found if row["attack"] == attack]
        rows = [row for row in rows if row["eps"] == rows[0]["eps"]]
        describe(f"realsafe-spec, {attack}", [value([row for row in rows if int(row["seed"]) == seed]) for seed in SEEDS])


def robust(rows):
    return 100 * statistics.mean(row["status"] == "robust" for row in rows)


def median_distance(rows):
    return statistics.median(float(row["dist_l2"]) if row["dist_l2"] else math.inf for row in rows)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples-csv")
    parser.add_argument("--only", nargs="+", default=["spsa", "nes", "nattack", "zoo"])
    parser.add_argument("--count", type=int, default=50, help="images (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=1000, help="per image, but of ZOO, which has 2000 (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    model, eps, done = "cifar10-resnet4b-adv", 4 / 255, set()
    network, data = networks.load(model), networks.images(model, arguments.count)
    for attack, title, peer in peers(eps):
        if attack not in arguments.only:
            continue
        if attack not in done:
            done.add(attack)
            print(f"{attack}, {model}, linf 4/255, {arguments.count} images, {arguments.queries} queries, robust accuracy in %")
            if arguments.samples_csv:
                ours(arguments.samples_csv, model, attack, robust)
        started, found = time.time(), []
        for seed in SEEDS:
            torch.manual_seed(seed)
            found.append(100 * (1 - peer(network, *data, eps, arguments.queries).double().mean().item()))
        describe(title, found, time.time() - started)
    if "zoo" in arguments.only:
        model = "mnist-lenet5-standard"
        network, data = networks.load(model), networks.images(model, arguments.count)
        print(f"zoo, {model}, l2, {arguments.count} images, 2000 queries, median distance")
        if arguments.samples_csv:
            ours(arguments.samples_csv, model, "zoo", median_distance)
        for rate, constant in ((0.05, 1.0), (0.1, 10.0)):
            started, found = time.time(), []
            for seed in SEEDS:
                numpy.random.seed(seed)
                found.append(statistics.median(art_zoo(network, *data, 2000, rate, constant).tolist()))
            describe(f"ART, learning rate {rate}, constant {constant:g}", found, time.time() - started)


if __name__ == "__main__":
    main()
