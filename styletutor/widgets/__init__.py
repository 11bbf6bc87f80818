"""Panels for notebooks: they set widget values and leave the work to the rooms below."""

from styletutor.widgets.panels import (
    LivePanel,
    balance_panel,
    channel_browser,
    content_panel,
    style_panel,
)

__all__ = ["LivePanel", "balance_panel", "channel_browser", "content_panel", "style_panel"]
