"""Readers of published data sets and of a user's own files, by block: never a whole file in memory."""

from stepward.domains.pde.readers.gas import gamma_of, is_gas, to_conserved, to_primitive
from stepward.domains.pde.readers.generic import read_generic
from stepward.domains.pde.readers.parquet import read_grid, read_parquet, read_rejected, write_parquet
from stepward.domains.pde.readers.pdebench import read_pdebench
from stepward.domains.pde.readers.pdegym import PDEGYM_CHANNELS, read_pdegym
from stepward.domains.pde.readers.record import FieldBlock, Grid, find_bad, sift
from stepward.domains.pde.readers.the_well import read_the_well

__all__ = [
    "PDEGYM_CHANNELS",
    "FieldBlock",
    "Grid",
    "find_bad",
    "gamma_of",
    "is_gas",
    "read_generic",
    "read_grid",
    "read_parquet",
    "read_pdebench",
    "read_pdegym",
    "read_rejected",
    "read_the_well",
    "sift",
    "to_conserved",
    "to_primitive",
    "write_parquet",
]
