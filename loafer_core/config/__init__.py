"""What a configuration says: read, checked, and every problem told at once.

Read ``sources`` (files, overrides, environment variables), ``settings`` (what may stand in them), ``references`` (how
a component is named) and ``validation`` (options); ``wording`` and ``json_schema`` put pydantic's words into ours.

May import ``api``.
"""
