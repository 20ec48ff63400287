"""Runs one command and writes what its whole process tree used; a script of its own.

Run as `python -I -S supervise.py REPORT COMMAND ...`: a process that has done nothing else, so that
no child of another command, and no memory of the benchmark's own, is counted. The kernel adds up
what each process and the children that it waited for used. On Linux, processes whose parent went
away (daemons) become children of this one, which waits for them too.
"""

from __future__ import annotations

import json
import os
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
SECONDS_FOR_DAEMONS = 30.0


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends; nothing where that is not known."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def supervise(words: list[str]) -> dict[str, object]:
    """Run a command to its end and to that of all its descendants."""
    adopt_orphans()
    start = time.perf_counter()
    child = os.posix_spawnp(words[0], words, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    usages = [usage]
    deadline = time.monotonic() + SECONDS_FOR_DAEMONS
    left_running = False
    while not left_running:
        try:
            found, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if found:
            usages.append(usage)
        else:
            left_running = time.monotonic() > deadline
            time.sleep(0.01)
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "exit_code": os.waitstatus_to_exitcode(status),
        "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in usages),
        "wall_seconds": seconds,
        "max_rss": max(one.ru_maxrss for one in usages) * unit,
        "left_running": left_running,
    }


if __name__ == "__main__":
    report = supervise(sys.argv[2:])
    with open(sys.argv[1], "w", encoding="utf-8") as file:  # noqa: PTH123  (pathlib costs memory)
        json.dump(report, file)
