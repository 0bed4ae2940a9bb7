"""Runs below a folder in a browser on this machine, and a network taken apart while one looks; or a static site.

`runs`, `pages` and `bundle` know no torch; `subject` and `bench` compute, and are imported where there is a network.
"""
