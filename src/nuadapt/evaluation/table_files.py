"""Tables of answers as files: Parquet or CSV by the name's ending, a column at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nuadapt.errors import InputFileError, OutputError, require

ENDINGS = (".parquet", ".csv")
#: Types of columns, in the words of Arrow.
INTEGER, FLOAT, TEXT = "int64", "float64", "string"


def write_table(columns: Mapping[str, Any], kinds: Mapping[str, str], path: Path) -> None:
    """Write columns (N,) in their order and of their ``kinds``; None and NaN of numbers are empty cells.

    A previous file is replaced at once or not at all.

    Raises:
        OutputError: unknown ending, or the place is not writable.
    """
    if path.suffix not in ENDINGS:
        raise OutputError(f"no table format for '{path.suffix}'", where=path, expected="a name in .parquet or .csv")
    pa = require("pyarrow", "training")
    table = pa.table({n: pa.array(c, type=kinds[n], from_pandas=kinds[n] == FLOAT) for n, c in columns.items()})
    beside = path.with_name(f".{path.stem}.writing{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            require("pyarrow.csv", "training").write_csv(table, beside)
        else:
            require("pyarrow.parquet", "training").write_table(table, beside, compression="zstd")
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write here ({error})", where=path) from error


def read_table(path: Path, kinds: Mapping[str, str], what: str) -> Any:
    """The Arrow table of a file; columns of a CSV are of the ``kinds`` where they are named there.

    Raises:
        InputFileError: missing, or not a table; ``what`` says of what.
    """
    pa = require("pyarrow", "training")
    if not path.is_file():
        raise InputFileError(
            "no such file", where=path, next_step="Give a table made by 'nuadapt predict' or 'evaluate'"
        )
    try:
        if path.suffix == ".csv":
            csv = require("pyarrow.csv", "training")
            # Types are stated, because a column of empty cells has none of its own.
            types = {name: pa.type_for_alias(kind) for name, kind in kinds.items()}
            options = csv.ConvertOptions(null_values=[""], strings_can_be_null=True, column_types=types)
            return csv.read_csv(path, convert_options=options)
        return require("pyarrow.parquet", "training").read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputFileError(f"this is not a table of {what} ({error})", where=path) from error
