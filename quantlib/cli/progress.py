"""Progress on standard error: a bar on a terminal, or a line of JSON a second."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import quantlib as ql
from quantlib import tables
from quantlib.cli.shared import quiet
from quantlib.cli.words import printable

EVERY = 1.0  # seconds between lines

Show = Callable[[ql.Progress], None]


@contextmanager
def progress_of(as_json: bool) -> Iterator[Show | None]:
    """What to call with a run's progress; None where nobody is looking."""
    if as_json:
        yield _lines()
    elif sys.stderr.isatty() and not quiet():
        from tqdm import tqdm

        with tqdm(unit="B", unit_scale=True, dynamic_ncols=True, file=sys.stderr, leave=False) as bar:
            yield _moving(bar)
    else:
        yield None


def _lines() -> Show:
    last = -EVERY

    def show(progress: ql.Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= EVERY or progress.weights_done == progress.weights:
            last = now
            print(json.dumps(tables.progress(progress)), file=sys.stderr, flush=True)

    return show


def _moving(bar) -> Show:
    def show(progress: ql.Progress) -> None:
        if bar.total != progress.nbytes:
            bar.reset(progress.nbytes)
        bar.set_postfix_str(f"{progress.index + 1}/{progress.count} {printable(progress.tensor)}", refresh=False)
        bar.update(progress.nbytes_done - bar.n)

    return show
