"""What those who read and those who write zips agree on, beside Python's own zipfile."""

TIMESTAMP_FIELD = 0x5455
"""Extra field of a member: its Unix time, which needs no time zone.

Source: Info-ZIP, proginfo/extrafld.txt, https://libzip.org/specifications/extrafld.txt
"""
