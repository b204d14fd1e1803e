"""The run folder: append-only records, a journal, a report, an index that can be rebuilt, and lineage."""
