"""What a configuration says: read, checked, and every problem told at once.

Read ``sources`` (files, overrides, environment variables), ``settings`` (what may stand in them), ``references`` (how
a component is named), ``importer`` (``module:attribute``) and ``validation`` (options). ``wording`` and ``json_schema``
say pydantic's errors in words of TOML; ``findings`` collects what is wrong.

May import ``api``.
"""
