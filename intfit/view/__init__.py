"""Pages that show files: one HTML file that needs nothing else, and loads nothing."""

from .items import Item, make_item
from .page import make_page

__all__ = ["Item", "make_item", "make_page"]
