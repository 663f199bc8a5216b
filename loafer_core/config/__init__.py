"""What a configuration says: read, checked, and every problem told at once.

Read ``sources`` (files, overrides, environment variables), ``settings`` (what may stand in them), ``references`` (how
a component is named) and ``validation`` (options). ``wording`` and ``json_schema`` say pydantic's errors in words of
TOML.

May import ``api``.
"""
