"""Reading and checking the tables of a benchmark folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_pix2rep.benchmark.schema import LATER_COLUMNS, arm_of
from nnunet_pix2rep.errors import UserError

CELL_COLUMNS = ["method", "shots", "seed"]
TEXT_COLUMNS = ("method", "patient", "case", "class", "status", "run_folder")


def read_table(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Reads a table whose columns must be ``columns``, or those of older benchmarks; patients 001 or NA stay text.

    Raises:
        UserError: the table is missing or malformed.
    """
    if not file.is_file():
        raise UserError(f"{file} does not exist: no cell of this benchmark has finished yet.")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no valid table: {error}") from error
    older = [column for column in columns if column not in LATER_COLUMNS]
    if list(table.columns) not in (list(columns), older):
        raise UserError(f"{file} must have the columns {', '.join(columns)}, but has {', '.join(table.columns)}.")
    table = _by_arm(table)
    for column in table.columns.difference(TEXT_COLUMNS):
        try:
            table[column] = pd.to_numeric(table[column].replace("", np.nan))
        except ValueError as error:
            raise UserError(f"{file}, column {column}: {error}") from error
    for column in ("shots", "seed"):
        if not (table[column] % 1 == 0).all():
            raise UserError(f"{file}, column {column}: only whole numbers are allowed.")
        table[column] = table[column].astype(int)
    return table


def _by_arm(table: pd.DataFrame) -> pd.DataFrame:
    """The table with arms as methods, and numbers of slices as shots, where effort is counted in slices."""
    if "selector" in table:
        in_slices = table["selector"] != ""
        arms = [arm_of(*names) for names in zip(table["method"], table["selector"], strict=True)]
        table["method"] = pd.Series(arms, index=table.index, dtype=table["method"].dtype)
        table["shots"] = table["budget"].where(in_slices, table["shots"])
    return table.drop(columns=list(LATER_COLUMNS), errors="ignore")


def check_results(results: pd.DataFrame, file: Path) -> None:
    """Refuses results that contradict themselves.

    Raises:
        UserError: naming what is wrong.
    """
    if results.empty:
        raise UserError(f"{file} has no rows: no cell of this benchmark has finished yet.")
    for metric in ("dice", "surface_dice"):
        if not results[metric].dropna().between(0, 1).all():
            raise UserError(f"{file}, column {metric}: values must lie from 0 to 1.")
    if not (results["hd95"].dropna() >= 0).all():
        raise UserError(f"{file}, column hd95: values must not be negative.")
    key = [*CELL_COLUMNS, "case", "class"]
    if (repeated := results.duplicated(key)).any():
        row = ", ".join(map(str, results.loc[repeated, key].iloc[0]))
        raise UserError(f"{file} has two rows of {row}.")
    for group, column in ((CELL_COLUMNS, "run_folder"), (["case"], "patient")):
        numbers = results.groupby(group)[column].nunique()
        if (numbers > 1).any():
            raise UserError(f"{file}: {numbers.idxmax()} has more than one {column}.")
