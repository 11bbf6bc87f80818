"""x"""
from typing import Any
def gallery(photos: Any) -> None:
    """x"""
