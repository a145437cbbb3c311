"""Compares the attacks made to transfer with torchattacks, on the same networks and images.

    cargo build --release -p realsafe-spec
    benches/setup-peers.sh
    target/release/realsafe-spec run specs/agreement/transfer-white-box.toml specs/agreement/transfer.toml --out OUT
    REALSAFE_DATA=... target/peers/bin/python benches/agreement_transfer.py OUT

Both sides make 10 steps of eps / 10 and are judged by the last iterate. Prints mean robust accuracies over three seeds, and
the bar: ours may be half a point and two standard errors of the difference above theirs.
"""

import argparse
from pathlib import Path
from statistics import mean, variance

import torch
import torchattacks

import networks

SEEDS = (0, 1, 2)
# The others draw no random numbers: their seeds give the same, on either side.
RANDOM = ("dim", "tim", "vmi")
STEPS = 10
MATRICES = (
    ("transfer-white-box", "cifar10-resnet4b-adv", ("cifar10-resnet4b-adv",), 200, 2),
    (
        "transfer",
        "cifar10-resnet20-standard",
        ("cifar10-resnet20-standard", "cifar10-resnet56-standard", "cifar10-resnet20-pgd-at"),
        50,
        4,
    ),
)


def peers(network, eps):
    """What torchattacks calls our attacks, with equal gradients; momentum is on everywhere, as in our defaults."""
    common = {"eps": eps, "alpha": eps / STEPS, "steps": STEPS, "decay": 1.0}
    return {
        "mim": torchattacks.MIFGSM(network, **common),
        "dim": torchattacks.DIFGSM(network, **common),
        "tim": torchattacks.TIFGSM(network, **common),
        "si-ni-fgsm": torchattacks.SINIFGSM(network, **common),
        "vmi": torchattacks.VMIFGSM(network, N=5, **common),
    }


def accuracy(network, images, labels):
    with torch.no_grad():
        return 100 * (network(images).argmax(1) == labels).double().mean().item()


def deviation(values):
    """The squared standard error of the mean over seeds."""
    return variance(values) / len(values) if len(values) > 1 else 0.0


def seeds(attack):
    return SEEDS if attack in RANDOM else SEEDS[:1]


def compare(results, experiment, surrogate, victims, count, eps):
    images, labels = networks.images(surrogate, count)
    loaded = {victim: networks.load(victim) for victim in victims}
    theirs = {}
    for attack, peer in peers(networks.load(surrogate), eps / 255).items():
        for seed in seeds(attack):
            torch.manual_seed(seed)
            adversarial = torch.cat([peer(*batch) for batch in zip(images.split(50), labels.split(50))])
            for victim, network in loaded.items():
                theirs.setdefault((victim, attack), []).append(accuracy(network, adversarial, labels))
    for victim in victims:
        for attack in ("mim", "dim", "tim", "si-ni-fgsm", "vmi", "sgm"):
            ours = []
            for seed in seeds(attack):
                rows = networks.rows(
                    results, experiment=f"agreement-{experiment}", model=victim, attack=attack, seed=seed
                )
                assert len(rows) == count, f"{len(rows)} rows of {attack} on {victim}"
                ours.append(100 * mean(row["status"] == "robust" for row in rows))
            line = f"| {surrogate} | {victim} | {attack} | {mean(ours):.2f}"
            if (victim, attack) not in theirs:
                print(f"{line} | | | |")
                continue
            peer = theirs[victim, attack]
            bar = mean(peer) + 0.5 + 2 * (deviation(ours) + deviation(peer)) ** 0.5
            verdict = "ok" if mean(ours) <= bar else "ABOVE"
            print(f"{line} | {mean(peer):.2f} | {bar:.2f} | {verdict} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder that realsafe-spec wrote")
    results = parser.parse_args().results / "samples.csv"
    torch.set_num_threads(1)
    print("| surrogate | victim | attack | ours % | torchattacks % | bar % | |\n|---|---|---|---|---|---|---|")
    for matrix in MATRICES:
        compare(results, *matrix)


if __name__ == "__main__":
    main()
