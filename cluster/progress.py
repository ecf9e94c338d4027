"""How far a stage is: a bar on a terminal, plain lines in a job's log."""

import sys
import time

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_EVERY_S = 10.0


class Progress:
    """Counts items; items done earlier do not enter the rate."""

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self.name, self.total, self.done, self.reused = name, total, done, done
        self.began = self.spoken = time.monotonic()
        self.bar: Bar | None = None
        if sys.stderr.isatty() and done < total:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Bar(*columns)
            self.task = self.bar.add_task(name, total=total, completed=done)
            self.bar.start()
        elif done == total:
            self._say("reused" if total else "nothing to do")
        elif done:
            self._say("resumed")

    def advance(self) -> None:
        self.done += 1
        if self.bar:
            self.bar.advance(self.task)
        elif self.done == self.total or time.monotonic() - self.spoken > LINE_EVERY_S:
            elapsed = max(time.monotonic() - self.began, 1e-9)
            rate = (self.done - self.reused) / elapsed
            self._say(f"{rate:.2g} items/s, {(self.total - self.done) / rate:.0f} s left, {elapsed:.1f} s so far")

    def close(self) -> None:
        if self.bar:
            self.bar.stop()

    def _say(self, text: str) -> None:
        self.spoken = time.monotonic()
        print(f"{self.name}: {self.done}/{self.total} {text}", flush=True)
