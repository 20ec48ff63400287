"""Measures all commands of the rows, interleaved, round by round."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from floe_bench.generator import generate
from floe_bench.measure import MeasureError, Measurement, measure
from floe_bench.rows import Command, Row

Samples = dict[Command, list[Measurement]]
Tell = Callable[[str], None]
"""Takes a line about what was just done."""

_KEPT = ("LANG", "LC_ALL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Workplace:
    """Holds the products, each of them generated when it is first asked for."""

    folder: Path
    _set_up: set[Command] = field(default_factory=set)

    def product(self, command: Command) -> Path:
        """Folder of a command's product."""
        folder = self.folder / command.product
        if not folder.exists():
            if command.size is None:
                folder.mkdir(parents=True)
            else:
                generate(folder, command.size)
        return folder

    def measure(self, command: Command) -> Measurement:
        """Bring a product into the state that a command is measured in, and measure it.

        Raises:
            MeasureError: if the command does not end as it should.
        """
        if command.setup is not None and command.setup not in self._set_up:
            self.measure(command.setup)
            self._set_up.add(command.setup)
        product = self.product(command)
        command.prepare(product)
        return measure(
            (str(_programs() / command.words[0]), *command.words[1:]),
            folder=product / command.within,
            env=self._env(product),
            exit_code=command.exit_code,
        )

    def _env(self, product: Path) -> dict[str, str]:
        """Nothing of the developer's own settings; usage statistics are off for everyone."""
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "PATH": os.pathsep.join([str(_programs()), os.environ.get("PATH", os.defpath)]),
            "HOME": str(home),
            "DAGSTER_HOME": str(product / "dagster_home"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "FLOE_PROJECT_DIR": str(product),
        }


def check_programs(rows: Sequence[Row]) -> None:
    """Look for all programs before anything is measured.

    Raises:
        MeasureError: if one is missing.
    """
    commands = [command for row in rows for command in (row.ours, row.peer)]
    for program in dict.fromkeys(command.words[0] for command in commands):
        if not (_programs() / program).exists():
            raise MeasureError(f"there is no `{program}` beside {sys.executable}: run `make bench`")


def run_rounds(
    rows: Sequence[Row],
    workplace: Workplace,
    rounds: int,
    tell: Tell,
    *,
    warm_up: bool = True,
) -> Samples:
    """Measure each command once a round, after a round that warms up and is not counted.

    Commands that are measured once alone have their turn in the first round.

    Every second round goes backwards, so that of two commands each is the first as often. After an
    interrupt the whole rounds that there are count.

    Raises:
        MeasureError: as soon as a command does not end as it should.
    """
    commands = tuple(dict.fromkeys(side for row in rows for side in (row.ours, row.peer)))
    samples: Samples = {command: [] for command in commands}
    try:
        for number in range(0 if warm_up else 1, rounds + 1):
            title = f"round {number} of {rounds}" if number else "warming up"
            backwards = number > 0 and number % 2 == 0
            for command in reversed(commands) if backwards else commands:
                if command.is_once and number != 1:
                    continue
                found = workplace.measure(command)
                tell(f"{title}: {command}: {found.cpu_seconds:.2f} CPU s")
                if number:
                    samples[command].append(found)
    except KeyboardInterrupt:
        counts = [len(found) for command, found in samples.items() if not command.is_once]
        whole = min(counts, default=0)
        tell(f"interrupted after {whole} whole rounds")
        if whole == 0:
            raise
        return {command: found[:whole] for command, found in samples.items()}
    return samples


def _programs() -> Path:
    return Path(sys.executable).parent
