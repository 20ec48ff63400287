"""OpenLineage: names of datasets, events of a run, their delivery, and the graph that stays here.

Nothing here imports the OpenLineage client until an event is made or sent.
"""
