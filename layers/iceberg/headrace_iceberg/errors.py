"""What can be wrong with an Iceberg table and its files; the library's own tree, continued.

InfrastructureError
└── CatalogFailed         the catalog or a file of the table did not answer; whether a commit happened may be unknown
ConfigurationError
└── TableTaken            a table of that name belongs to another topic or generation
InvariantError
├── BooksDisagree         the landing zone has other files than the checkpoints say
├── MarksLost             a snapshot does not say how far the landing zone is in the table
├── FileUnreadable        a file cannot be read as Parquet
├── SchemaConflict        a file's columns cannot be read as the table's
└── RowsChanged           a compacted file has other rows than those it was made of
"""

from headrace.errors import ConfigurationError, InfrastructureError, InvariantError


class CatalogFailed(InfrastructureError):
    """The catalog or the table's storage failed; nobody knows whether a commit happened.

    The next run reads the current snapshot's marks first, so it does not matter.
    """


class TableTaken(ConfigurationError):
    """The table exists and holds something else."""


class BooksDisagree(InvariantError):
    """More or fewer files of a partition are published than its checkpoint counts. Nothing of it was added."""

    def __init__(self, source: str, expected: int, found: int) -> None:
        super().__init__(
            f"{source}: {expected} published files are not in the table yet by the checkpoint, {found} are in the "
            "landing zone: restore what was deleted, or let the table begin with what is there (`headrace lake "
            "iceberg commit --accept-missing`)"
        )
        self.source, self.expected, self.found = source, expected, found


class MarksLost(InvariantError):
    """The table has snapshots, none of which says what it holds: adding anything could double rows."""


class FileUnreadable(InvariantError):
    """A file that should be Parquet is not; it is left as it is, and so are the files that belong with it."""

    def __init__(self, location: str, problem: str) -> None:
        super().__init__(f"{location} cannot be read: {problem}")
        self.location = location


class SchemaConflict(InvariantError):
    """A file's column has a type that the table's cannot become; the file and what follows it wait."""

    def __init__(self, problem: str, file: str | None = None) -> None:
        ways_out = (
            f"{file}: {problem}. It and its partition's later files wait. Deploy a schema that the table can follow "
            "(`headrace schema check --iceberg`), or deploy the new one with a new Generation: it gets a table of its "
            "own, with every row from the topic's beginning. So that the old table goes on, move the file out of lake/ "
            "and run `headrace lake iceberg commit --accept-missing`"
        )
        super().__init__(problem if file is None else ways_out)
        self.problem, self.file = problem, file


class RowsChanged(InvariantError):
    """A rewritten file does not have exactly the rows of its sources. It is not put into the table."""
