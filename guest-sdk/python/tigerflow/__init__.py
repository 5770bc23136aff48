"""TigerFlow's own tasks, built for tigerflow-host without a change.

Only what a task imports is here: `tigerflow.tasks` and `tigerflow.utils.SetupContext`.
"""
