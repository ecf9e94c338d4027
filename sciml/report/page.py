"""One self-contained HTML page: text, figures, tables, and where everything came from.

The page opens without a network: figures are embedded as PNG, the style sheet is inside, nothing is fetched and no
script runs. Each figure is also saved beside it, as PNG for a screen and PDF for a manuscript.
"""

import base64
import importlib.metadata
import io
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from sciml.core.urls import join, write_bytes
from sciml.report.style import rc

DPI = 150


@dataclass(frozen=True, eq=False)
class Illustration:
    """A figure on the page. name: file name without suffix, [a-z0-9_-]; caption: what it shows, with sample size and
    units; alt: what a reader who cannot see it needs to know (not the caption again)."""

    name: str
    figure: Figure
    caption: str
    alt: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_-]+", self.name):
            raise ValueError(f"figure name {self.name!r}: expected lower-case letters, digits, _ and -")
        if not self.alt.strip() or not self.caption.strip():
            raise ValueError(f"figure {self.name}: caption and alt text must not be empty")


@dataclass(frozen=True)
class Cell:
    """One entry of a table: text, a second line in small type (an interval), whether it is the best of its column."""

    text: str
    detail: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table on the page. header: column titles; rows: the first cell of each is its name; notes: lines below it."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"table {self.caption!r}: a row of {len(row)} cells under {len(self.header)} titles")


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs of plain text (escaped), then figures and tables in order."""

    title: str
    paragraphs: Sequence[str] = ()
    blocks: Sequence[Illustration | Table] = ()


@dataclass(frozen=True)
class Page:
    """A report. summary: the first paragraphs, what was found, also where the baseline wins; provenance: from
    `provenance`."""

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def provenance(
    *,
    data: Mapping[str, str],
    split: Mapping[str, str],
    sample_size: Mapping[str, int],
    seed: int,
    stores: Mapping[str, str],
    config: Mapping[str, Any],
    packages: Sequence[str] = ("sciml", "numpy", "scipy", "torch", "xarray", "zarr", "ray", "dask"),
) -> dict[str, Any]:
    """What a reader needs to check or repeat a run.

    data: what was read -> file, version or digest; split: training and test period, held-out places; sample_size:
    units, records, members ...; stores: stage -> store it left; config: the resolved configuration, plain values only.
    """
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "Data": dict(data),
        "Split": dict(split),
        "Sample size": {k: str(v) for k, v in sample_size.items()},
        "Seed": str(seed),
        "Stores": dict(stores),
        "Versions": versions,
        "Configuration": yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
    }


def render(page: Page) -> tuple[bytes, dict[str, bytes]]:
    """The page as HTML and its figures as files: name with suffix -> bytes."""
    pictures = [block for s in page.sections for block in s.blocks if isinstance(block, Illustration)]
    names = [p.name for p in pictures]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise ValueError(f"figure names used twice: {', '.join(sorted(twice))}")
    files: dict[str, bytes] = {}
    for picture in pictures:
        for suffix in ("png", "pdf"):
            files[f"{picture.name}.{suffix}"] = figure_bytes(picture.figure, suffix)
            picture.figure.set_layout_engine("none")  # where the first drawing put everything; layout is half its cost
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("page.html.j2").render(
        page=page,
        numbers={name: i + 1 for i, name in enumerate(names)},
        images={n: base64.b64encode(files[f"{n}.png"]).decode() for n in names},
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        is_figure=lambda block: isinstance(block, Illustration),
        anchor=lambda text: re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"),
    )
    return html.encode(), files


def write_page(run_dir: str, page: Page, *, name: str = "report") -> str:
    """Write RUN/<name>.html and RUN/figures/*.{png,pdf}; run_dir is a path or URL. The page comes last and whole, so a
    page that exists is complete. Returns its URL."""
    html, files = render(page)
    for file, data in files.items():
        write_bytes(join(run_dir, "figures", file), data)
    url = join(run_dir, f"{name}.html")
    write_bytes(url, html)
    return url


def figure_bytes(figure: Figure, suffix: str = "png") -> bytes:
    """A figure as PNG, PDF or SVG; the same figure gives the same bytes (no date inside)."""
    buffer = io.BytesIO()
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(suffix)
    with rc():
        figure.savefig(buffer, format=suffix, dpi=DPI, metadata=metadata)
    return buffer.getvalue()
