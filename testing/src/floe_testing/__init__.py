"""Factories and fixtures for floe's own tests."""
