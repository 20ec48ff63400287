"""Plugins of a third party."""
