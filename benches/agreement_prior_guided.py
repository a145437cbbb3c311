"""RGF, P-RGF and bandits as their papers and their authors' code define them, in PyTorch, beside ours.

    realsafe-spec run specs/agreement/prior_guided.toml --out OUT
    REALSAFE_DATA=... python benches/agreement_prior_guided.py OUT

No library of attacks has them. They are written here image by image, for clarity; what they spend counts like ours, the
query of every iterate included. The bar is one-sided: robust accuracy no more than half a point and two standard errors
of the difference above theirs.
"""

import argparse
import math
import time
from pathlib import Path
from statistics import mean, stdev

import torch
from torch.nn import functional

import networks

VICTIM, SURROGATE = "mnist-lenet5-standard", "mnist-lenet5-pgd-at"
DIRECTIONS, SIGMA, SHARE = 20, 1e-4, 0.25


class Spent(Exception):
    """The budget does not cover a query."""


class Victim:
    """A network that counts what it is asked, for one image."""

    def __init__(self, network, label, budget):
        self.network, self.label, self.left = network, label, budget

    def ask(self, points):
        """Losses and predictions of points `[n, c, h, w]`."""
        if self.left < len(points):
            raise Spent
        self.left -= len(points)
        logits = self.network(points).double()
        labels = torch.full((len(points),), self.label)
        return functional.cross_entropy(logits, labels, reduction="none"), logits.argmax(1) != self.label


def unit(vectors):
    return vectors / vectors.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, 1, 1, 1)


def advance(image, clean, direction, norm, eps):
    if norm == "linf":
        change = (image + SHARE * eps * direction.sign() - clean).clamp(-eps, eps)
    else:
        change = image + SHARE * eps * unit(direction) - clean
        change = change * (eps / change.norm().clamp_min(1e-30)).clamp_max(1)
    return (clean + change).clamp(0, 1)


def rgf(victim, _, clean, norm, eps, random):
    """Random gradient-free attack; a prior makes it P-RGF."""
    return climb(victim, None, clean, norm, eps, random)


def p_rgf(victim, surrogate, clean, norm, eps, random):
    return climb(victim, surrogate, clean, norm, eps, random)


def climb(victim, surrogate, clean, norm, eps, random):
    image, size = clean, clean.numel()
    sigma = SIGMA * math.sqrt(size)
    loss, wrong = victim.ask(image)
    length, iteration = 0.0, 0
    while not wrong.item():
        draw = lambda n: unit(torch.randn((n, *clean.shape[1:]), generator=random))
        best = 0.0
        if surrogate is not None:
            leaf = image.clone().requires_grad_()
            logits = surrogate(leaf)
            (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, torch.tensor([victim.label])), leaf)
            prior = unit(gradient)
            if iteration == 3 or iteration % 10 == 0:
                slopes = (victim.ask(image + sigma * draw(10))[0] - loss) / sigma
                length = math.sqrt(size * slopes.square().mean().item())
            slope = ((victim.ask(image + sigma * prior)[0] - loss) / sigma).item()
            prior = prior if slope >= 0 else -prior
            square = min(1.0, abs(slope) / max(length, 1e-30)) ** 2
            spread = size + 2 * DIRECTIONS - 2
            if square >= (2 * DIRECTIONS - 1) / spread:
                best = 1.0
            elif square > 1 / spread:
                below = square**2 * size * spread - 2 * square * size * DIRECTIONS + 1
                best = (1 - square) * (1 - square * spread) / below
        if best < 1:
            directions = draw(DIRECTIONS)
            if best > 0:
                along = (directions * prior).flatten(1).sum(1).view(-1, 1, 1, 1)
                directions = math.sqrt(best) * prior + math.sqrt(1 - best) * unit(directions - along * prior)
            slopes = (victim.ask(image + sigma * directions)[0] - loss) / sigma
            estimate = (slopes.float().view(-1, 1, 1, 1) * directions).sum(0, keepdim=True)
            if not estimate.any():
                sigma *= 2
                continue
        else:
            estimate = prior
        image = advance(image, clean, estimate, norm, eps)
        loss, wrong = victim.ask(image)
        iteration += 1


def bandits(victim, _, clean, norm, eps, random):
    """Every iterate is queried, and that query counts."""
    exploration, fd_eta, learning_rate = (1.0, 0.1, 100.0) if norm == "linf" else (0.01, 0.01, 0.1)
    side = round(50 / 299 * clean.shape[-1])
    image, guess = clean, torch.zeros(1, clean.shape[1], side, side)
    enlarge = lambda cells: functional.interpolate(cells, size=clean.shape[2:], mode="nearest")
    while True:
        noise = exploration * torch.randn(guess.shape, generator=random) / math.sqrt(guess.numel())
        points = [image + fd_eta * unit(enlarge(guess + sign * noise)) for sign in (1, -1)]
        losses, _ = victim.ask(torch.cat(points))
        by = learning_rate * ((losses[0] - losses[1]) / (fd_eta * exploration)).float() * noise
        if norm == "linf":
            heads, tails = (1 + guess) / 2 * by.exp(), (1 - guess) / 2 * (-by).exp()
            guess = torch.nan_to_num(2 * heads / (heads + tails) - 1, nan=0.0)
        else:
            guess = guess + by
        image = advance(image, clean, enlarge(guess), norm, eps)
        if victim.ask(image)[1].item():
            return


def theirs(attack, networks_, images, labels, threat, budget, seed):
    """Robust accuracy, and mean queries of what was classified correctly, failures at the budget."""
    network, surrogate = networks_
    correct = network(images).argmax(1) == labels
    robust, queries = 0, []
    for index in correct.nonzero().flatten().tolist():
        victim = Victim(network, labels[index].item(), budget)
        random = torch.Generator().manual_seed(1_000_003 * seed + index)
        try:
            attack(victim, surrogate, images[index : index + 1], *threat, random)
            queries.append(budget - victim.left)
        except Spent:
            robust += 1
            queries.append(budget)
    return robust / len(images), mean(queries)


def ours(path, attack, norm, seed, budget):
    rows = networks.rows(path, attack=attack, norm=norm, seed=seed)
    correct = [row for row in rows if row["clean_pred"] == row["label"]]
    queries = [int(row["queries"]) if row["status"] == "broken" else budget for row in correct]
    return sum(row["status"] == "robust" for row in rows) / len(rows), mean(queries)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--queries", type=int, default=300)
    arguments = parser.parse_args()
    path = arguments.out / "samples.csv"
    first = networks.rows(path)
    count = len({row["sample"] for row in first})
    images, labels = networks.images(VICTIM, count)
    pair = networks.load(VICTIM), networks.load(SURROGATE)
    threats = sorted({(row["norm"], float(row["eps"])) for row in first})
    seeds = sorted({int(row["seed"]) for row in first})
    print("attack   norm  robust accuracy: ours, theirs, bar    mean queries: ours, theirs    verdict")
    for attack in (rgf, p_rgf, bandits):
        for norm, eps in threats:
            started = time.perf_counter()
            name = attack.__name__.replace("_", "-")
            here = [ours(path, name, norm, seed, arguments.queries) for seed in seeds]
            there = [
                theirs(attack, pair, images, labels, (norm, eps), arguments.queries, seed) for seed in seeds
            ]
            accuracy = [[run[0] for run in runs] for runs in (here, there)]
            error = math.sqrt(sum(stdev(runs) ** 2 / len(runs) for runs in accuracy))
            bar = mean(accuracy[1]) + 0.005 + 2 * error
            verdict = "agrees" if mean(accuracy[0]) <= bar else "WEAKER"
            print(
                f"{name:8} {norm:5} {mean(accuracy[0]):7.4f} {mean(accuracy[1]):7.4f} {bar:7.4f}"
                f"  {mean(run[1] for run in here):8.1f} {mean(run[1] for run in there):8.1f}"
                f"  {verdict}  ({time.perf_counter() - started:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
