"""Compares attacks on labels with Foolbox, ART and the papers' algorithms, at equal queries.

    target/peers/bin/python benches/agreement_labels.py mnist-lenet5-standard [--samples-csv results/samples.csv]
    target/peers/bin/python benches/agreement_labels.py cifar10-resnet4b-adv --only foolbox-boundary foolbox-hop-skip-jump-l2

Every image that is sent is counted where it is sent, the search for a start included, and the nearest adversarial of all of
them is remembered, as realsafe-spec does: the distance after 1,000 queries is that of the nearest among the first 1,000.
Images that are misclassified have distance 0. Printed is the median distance over all images, mean over the seeds and its standard error.
Data and weights lie under $REALSAFE_DATA; the specs are specs/agreement/labels-*.toml, the results in reports/agreement/labels.md.
"""

import argparse
import functools
import math
import statistics
import time
import warnings

import numpy
import torch
from torch import nn

import networks

SEEDS = (0, 1, 2)


class Spent(Exception):
    """The budget of every image is spent."""


class Counter:
    """Answers for images of a batch, counts what each asked, and remembers the nearest adversarial within each budget.

    Libraries send whole batches whether or not an image still needs an answer; all of it counts.
    """

    budgets = (1000, 2000)

    def __init__(self, network, images, labels, norm):
        self.network, self.images, self.labels, self.norm = network, images, labels, norm
        self.asked = 0
        self.nearest = {budget: torch.full((len(images),), math.inf) for budget in self.budgets}

    @torch.no_grad()
    def __call__(self, x):
        """The logits of one image, or several, for each image of the batch."""
        logits = self.network(x)
        for answers, asked in zip(logits.split(len(self.images)), x.split(len(self.images))):
            if self.asked >= max(self.budgets):
                raise Spent
            self.asked += 1
            distances = torch.linalg.vector_norm((asked - self.images).flatten(1), self.norm, dim=1)
            distances = torch.where(answers.argmax(1) != self.labels, distances, math.inf)
            for budget in self.budgets:
                if self.asked <= budget:
                    self.nearest[budget] = torch.minimum(self.nearest[budget], distances)
        return logits


# Foolbox


def foolbox_attack(build, network, images, labels, norm):
    """One image at a time: Foolbox's attacks let images of a batch influence each other."""
    import eagerpy
    import foolbox

    counters = [Counter(network, images[at : at + 1], labels[at : at + 1], norm) for at in range(len(images))]
    for counter in counters:

        class Victim(foolbox.models.base.Model):
            """Sends everything to the counter."""

            bounds = foolbox.types.Bounds(0, 1)

            def __call__(self, inputs):
                return eagerpy.astensor(counter(inputs.raw if hasattr(inputs, "raw") else inputs))

        try:
            build().run(Victim(), counter.images, foolbox.criteria.Misclassification(counter.labels))
        except Spent:
            pass
        except ValueError:
            # No start was found: Foolbox gives up.
            pass
    return counters


def foolbox_boundary():
    from foolbox.attacks import BoundaryAttack

    return BoundaryAttack(steps=10_000)


def foolbox_hop_skip_jump(norm):
    from foolbox.attacks import HopSkipJumpAttack

    return HopSkipJumpAttack(steps=64, constraint=norm)


# ART


def art_attack(build, network, images, labels, norm):
    from art.estimators.classification import PyTorchClassifier

    counters = [Counter(network, images[at : at + 1], labels[at : at + 1], norm) for at in range(len(images))]
    for counter in counters:

        class Classifier(PyTorchClassifier):
            def predict(self, x, batch_size=1, training_mode=False, **_):
                return counter(torch.from_numpy(numpy.asarray(x, numpy.float32))).numpy()

        shape = tuple(images.shape[1:])
        classifier = Classifier(network, nn.CrossEntropyLoss(), shape, 10, clip_values=(0.0, 1.0), device_type="cpu")
        try:
            build(classifier).generate(counter.images.numpy(), numpy.eye(10)[counter.labels.numpy()])
        except Spent:
            pass
    return counters


def art_hop_skip_jump(norm, classifier):
    from art.attacks.evasion import HopSkipJump

    return HopSkipJump(classifier, norm={"l2": 2, "linf": numpy.inf}[norm], max_iter=64, init_eval=100, verbose=False)


def art_boundary(classifier):
    from art.attacks.evasion import BoundaryAttack

    return BoundaryAttack(classifier, targeted=False, max_iter=10_000, verbose=False)


# The papers' algorithms, where no package has them


def wrong(counter, x):
    return counter(x).argmax(1) != counter.labels


def evolutionary(counter, bias=0.01, sigma=0.03, decay=0.99, rate=0.001):
    """Dong et al. 2019 with RealSafe's defaults: starts at uniform noise that is misclassified."""
    clean = counter.images[0].double()
    start = torch.rand_like(counter.images)
    while not wrong(counter, start):
        start = torch.rand_like(counter.images)
    current, size = start[0].double(), clean.numel()
    covariance, path, known = numpy.ones(size), numpy.zeros(size), []
    while True:
        chosen = numpy.random.choice(size, size // 20, replace=False, p=covariance / covariance.sum())
        z = numpy.zeros(size)
        z[chosen] = numpy.random.randn(len(chosen)) * numpy.sqrt(covariance[chosen])
        step = torch.from_numpy(z).reshape(clean.shape)
        biased = current + bias * (clean - current)
        candidate = biased + sigma * (clean - current).norm() * step / step.norm()
        candidate = clean + (candidate - clean) * (clean - biased).norm() / (candidate - clean).norm()
        candidate = candidate.clip(0, 1)
        success = bool(wrong(counter, candidate.float()[None]))
        if success:
            current = candidate
            path = decay * path + math.sqrt(1 - decay**2) * z
            covariance = (1 - rate) * covariance + rate * path**2
        known.append(success)
        if len(known) == 30:
            bias *= math.exp(statistics.mean(known) - 0.2)
            known = []


def rays(counter, tolerance=1e-3):
    """Chen and Gu 2020 as in the authors' code: radii in l2, the tolerance too."""
    clean, size = counter.images, counter.images.numel()
    signs, best, level, block = torch.ones(size), math.inf, 0, 0
    unit = math.sqrt(size)

    def at(direction, radius):
        return (clean + min(radius, unit) / unit * direction.reshape(clean.shape)).clip(0, 1)

    def search(direction):
        nonlocal signs, best
        if not wrong(counter, at(direction, best)):
            return
        low, high = 0.0, min(best, unit)
        while high - low > tolerance:
            middle = (low + high) / 2
            if wrong(counter, at(direction, middle)):
                high = middle
            else:
                low = middle
        if high < best:
            signs, best = direction, high

    search(signs)
    while True:
        width = math.ceil(size / 2**level)
        direction = signs.clone()
        direction[block * width : (block + 1) * width] *= -1
        search(direction)
        block += 1
        if block == 2**level or block * width >= size:
            level, block = level + 1, 0


def paper(algorithm, network, images, labels, norm):
    counters = [Counter(network, images[at : at + 1], labels[at : at + 1], norm) for at in range(len(images))]
    for counter in counters:
        try:
            algorithm(counter)
        except Spent:
            pass
    return counters


# What is compared: ours, the norm, and theirs.
CONTESTS = {
    "foolbox-boundary": ("boundary", "l2", functools.partial(foolbox_attack, foolbox_boundary)),
    "art-boundary": ("boundary", "l2", functools.partial(art_attack, art_boundary)),
    "paper-evolutionary": ("evolutionary", "l2", functools.partial(paper, evolutionary)),
    "paper-rays": ("rays", "linf", functools.partial(paper, rays)),
    **{
        f"{name}-hop-skip-jump-{norm}": ("hop-skip-jump", norm, functools.partial(run, functools.partial(build, norm)))
        for name, run, build in (
            ("foolbox", foolbox_attack, foolbox_hop_skip_jump),
            ("art", art_attack, art_hop_skip_jump),
        )
        for norm in ("l2", "linf")
    },
}


def describe(name, medians):
    error = statistics.stdev(medians) / math.sqrt(len(medians)) if len(medians) > 1 else math.nan
    seeds = ", ".join(f"{median:.4f}" for median in medians)
    print(f"  {name:40} {statistics.mean(medians):.4f} ± {error:.4f}  ({seeds})", flush=True)


def ours(arguments, attack, norm):
    for budget in Counter.budgets:
        rows = networks.rows(arguments.samples_csv, model=arguments.model, attack=f"{attack}-{budget}", norm=norm)
        first = rows[0]["eps"] if rows else None
        medians = []
        for seed in SEEDS:
            distances = [row[f"dist_{norm}"] for row in rows if row["seed"] == str(seed) and row["eps"] == first]
            if distances:
                assert len(distances) == arguments.count, f"{len(distances)} images of ours, {arguments.count} of theirs"
                medians.append(statistics.median(float(distance) if distance else math.inf for distance in distances))
        if medians:
            describe(f"realsafe-spec, {attack} {norm}, {budget}", medians)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--only", nargs="*", choices=CONTESTS, default=list(CONTESTS))
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--budgets", type=int, nargs="*", default=Counter.budgets)
    parser.add_argument("--samples-csv")
    arguments = parser.parse_args()
    Counter.budgets = arguments.budgets
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    network = networks.load(arguments.model)
    images, labels = networks.images(arguments.model, arguments.count)
    with torch.no_grad():
        right = network(images).argmax(1) == labels
    print(f"{arguments.model}, {arguments.count} images, {int(right.sum())} correctly classified")
    done = set()
    for name in arguments.only:
        attack, norm, run = CONTESTS[name]
        if arguments.samples_csv and (attack, norm) not in done:
            ours(arguments, attack, norm)
            done.add((attack, norm))
        medians = {budget: [] for budget in Counter.budgets}
        started = time.time()
        for seed in arguments.seeds:
            torch.manual_seed(seed)
            numpy.random.seed(seed)
            counters = run(network, images[right], labels[right], {"l2": 2, "linf": math.inf}[norm])
            for budget in Counter.budgets:
                distances = [float(counter.nearest[budget][0]) for counter in counters]
                medians[budget].append(statistics.median(distances + [0.0] * int((~right).sum())))
        for budget in Counter.budgets:
            describe(f"{name}, {budget}", medians[budget])
        print(f"  {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
