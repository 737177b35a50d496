"""What a run came to: merged records, figures, comparison, report, archive."""
