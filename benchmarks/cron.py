"""Cron: ours beside croniter and cronsim in the same run. `python benchmarks/cron.py [--rounds N]`

Three questions: how long the next instant takes, how long it takes to arm 100,000 schedules, and who is right about
the cases that tests/flowstone/cron/hand_checked.txt derives by hand. Rates depend on the machine; read the ratios.
The exit status is 1 when a budget is missed.
"""

import argparse
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from croniter import croniter
from cronsim import CronSim, CronSimError

from flowstone.cron import Cron
from flowstone.zones import tzdata_version, zone

HAND_CHECKED = Path(__file__).resolve().parents[1] / "tests" / "flowstone" / "cron" / "hand_checked.txt"
START = datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC)
STEPS = 300
ARMED = 100_000
SAMPLE = 2_000
RATIO_BUDGET = 20.0
EXPRESSIONS = (
    "*/5 * * * *",
    "0 2 * * *",
    "30 2 * * 1-5",
    "*/15 9-17 * * mon-fri",
    "0 0 1 * *",
    "0 9 * * fri#3",
    "0 0 1,15 * 5",
    "0 0 L * *",
    "0 0 1 1 *",
    "0 0 29 2 *",
)
ZONES = ("UTC", "America/New_York")

Step = Callable[[], datetime]


def ours(expression: str, name: str, start: datetime) -> Step:
    cron, at = Cron(expression, name), start

    def step() -> datetime:
        nonlocal at
        at = cron.next_after(at)
        return at

    return step


def of_croniter(expression: str, name: str, start: datetime) -> Step:
    iterator = croniter(expression, start.astimezone(zone(name)), ret_type=datetime)
    return lambda: iterator.get_next(datetime)


def of_cronsim(expression: str, name: str, start: datetime) -> Step:
    iterator: Iterator[datetime] = CronSim(expression, start.astimezone(zone(name)))
    return lambda: next(iterator)


PEERS = {"ours": ours, "croniter": of_croniter, "cronsim": of_cronsim}


def microseconds(step: Step, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps * 1e6


def fastest(peer: str, expression: str, name: str, rounds: int) -> float | None:
    """The best of some rounds, in microseconds a step; None when the peer refuses the expression."""
    steps = STEPS if peer == "ours" else STEPS // 10
    try:
        return min(microseconds(PEERS[peer](expression, name, START), steps) for _ in range(rounds))
    except (ValueError, CronSimError):
        return None


def show_next(rounds: int) -> bool:
    print(f"\nThe next instant, µs (best of {rounds} rounds; budget {RATIO_BUDGET:.0f} x croniter's iterator)")
    print(f"{'expression':24}{'zone':18}{'ours':>8}{'croniter':>10}{'cronsim':>10}{'ratio':>8}")
    ratios = []
    for name in ZONES:
        for expression in EXPRESSIONS:
            times = {peer: fastest(peer, expression, name, rounds) for peer in PEERS}
            mine, theirs = times["ours"] or 0.0, times["croniter"] or 0.0
            ratios.append(theirs / mine)
            other = times["cronsim"] or float("nan")
            print(f"{expression:24}{name:18}{mine:8.2f}{theirs:10.2f}{other:10.2f}{ratios[-1]:7.1f}x")
    middle = sorted(ratios)[len(ratios) // 2]
    return verdict(f"median {middle:.1f} x, worst {min(ratios):.1f} x", min(ratios) >= RATIO_BUDGET)


def show_armed(rounds: int) -> bool:
    print(f"\n{ARMED:,} schedules armed: the next instant of each from now (peers: {SAMPLE:,}, scaled)")
    chance = random.Random(1)
    days = ("* * *", "* * 1-5", "* * 0")
    texts = [f"{chance.randrange(60)} {chance.randrange(24)} {chance.choice(days)}" for _ in range(ARMED)]
    names = [chance.choice(ZONES) for _ in texts]
    begin = time.perf_counter()
    crons = [Cron(text, name) for text, name in zip(texts, names, strict=True)]
    defined = time.perf_counter() - begin
    mine = min(armed(crons) for _ in range(rounds))
    peers = {peer: min(armed_by(peer, texts, names) for _ in range(rounds)) for peer in ("croniter", "cronsim")}
    print(f"ours {mine:.2f} s (and {defined:.2f} s to define them all, {len(set(texts)):,} distinct expressions)")
    for peer, spent in peers.items():
        print(f"{peer} {spent:.2f} s, {spent / mine:.0f} x ours")
    return verdict(f"{peers['croniter'] / mine:.0f} x croniter", peers["croniter"] / mine >= RATIO_BUDGET)


def armed(crons: list[Cron]) -> float:
    begin = time.perf_counter()
    for cron in crons:
        cron.next_after(START)
    return time.perf_counter() - begin


def armed_by(peer: str, texts: list[str], names: list[str]) -> float:
    steps = [PEERS[peer](text, name, START) for text, name in zip(texts[:SAMPLE], names, strict=False)]
    begin = time.perf_counter()
    for step in steps:
        step()
    return (time.perf_counter() - begin) * ARMED / SAMPLE


def show_correct() -> bool:
    """Counts who gives the instants derived by hand, among the cases with Debian's policies (no peer has others)."""
    lines = [line.split("|") for line in HAND_CHECKED.read_text().splitlines() if line and not line.startswith("#")]
    cases = [[part.strip() for part in line] for line in lines]
    print("\nRight about the hand-derived cases of cron and daylight saving time")
    for peer in PEERS:
        answers = [answer(peer, case) for case in cases if case[2:4] == ["shift", "first"]]
        right, refused = sum(one is True for one in answers), sum(one is None for one in answers)
        print(f"{peer:9} {right:3} of {len(answers)}, {refused} refused")
    policies = [answer("ours", case) for case in cases]
    return verdict(f"ours {sum(map(bool, policies))} of {len(policies)} with all policies", all(policies))


def answer(peer: str, case: list[str]) -> bool | None:
    expression, name, gap, fold, after, expected, _ = case
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in expected.split()]
    if peer == "ours":
        cron = Cron(expression, name, gap=gap, fold=fold)
        return cron.between(start, instants[-1]) == instants
    try:
        step = PEERS[peer](expression, name, start)
        return [step().astimezone(UTC) for _ in instants] == instants
    except (ValueError, CronSimError, StopIteration):
        return None


def verdict(text: str, kept: bool) -> bool:
    print(f"-> {text}: {'within the budget' if kept else 'MISSED'}")
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, {platform.machine()}, tzdata {tzdata_version()}")
    kept = [show_next(rounds), show_armed(rounds), show_correct()]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
