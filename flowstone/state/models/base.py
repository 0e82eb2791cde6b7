"""What all tables share: fields for instants and JSON, and names in snake case."""

from typing import Any

from peewee import Model, SqliteDatabase, TextField

from flowstone.state import fields

__all__ = ["InstantField", "JsonField", "Table"]


class InstantField(TextField):
    """An aware instant."""

    field_type = "INSTANT"

    def db_value(self, value: Any) -> Any:
        """The stored form."""
        return fields.bind(value)


class JsonField(TextField):
    """A value as JSON."""

    field_type = "STRUCTURE"

    def db_value(self, value: Any) -> Any:
        """The stored form; a text is taken for JSON already."""
        return fields.bind(value)


class Table(Model):
    """What all tables share."""

    class Meta:
        """Which SQL to write, and tables named in snake case."""

        database = SqliteDatabase(None, field_types={"INSTANT": "TEXT", "STRUCTURE": "TEXT"})
        legacy_table_names = False
