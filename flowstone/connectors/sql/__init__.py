"""What connectors keep in the database itself, as numbered steps of its migrations."""
