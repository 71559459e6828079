"""Readers of published data sets, by block: never a whole file in memory."""

from collections.abc import Callable, Iterator

from stepward.domains.pde.readers.parquet import read_parquet, write_parquet
from stepward.domains.pde.readers.pdebench import read_pdebench
from stepward.domains.pde.readers.pdegym import PDEGYM_CHANNELS, read_pdegym
from stepward.domains.pde.readers.record import FieldBlock, Grid, to_conserved, to_primitive
from stepward.domains.pde.readers.the_well import read_the_well

__all__ = [
    "PDEGYM_CHANNELS",
    "READERS",
    "FieldBlock",
    "Grid",
    "read_parquet",
    "read_pdebench",
    "read_pdegym",
    "read_the_well",
    "to_conserved",
    "to_primitive",
    "write_parquet",
]

READERS: dict[str, Callable[..., Iterator[FieldBlock]]] = {
    "pdegym": read_pdegym,
    "pdebench": read_pdebench,
    "the_well": read_the_well,
}
