"""The backward pass of one's own network, step by step, as a page."""

from undertow.report.walks.page import Section, Walk, walk, walk_model

__all__ = ["Section", "Walk", "walk", "walk_model"]
