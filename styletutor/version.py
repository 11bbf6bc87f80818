"""The version, which reports and `--version` say."""

__version__ = "0.1.0"
