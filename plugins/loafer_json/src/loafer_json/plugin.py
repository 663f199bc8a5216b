"""What Loafer finds through the entry point: declarations only."""

from __future__ import annotations

from loafer_core import Translator, TranslatorSpec, hookimpl
from loafer_json.options import JSONOptions

LOAFER_API = 1


def _translator(options: JSONOptions) -> Translator:
    from loafer_json.translator import JSONTranslator

    return JSONTranslator(options)


@hookimpl
def loafer_translators() -> list[TranslatorSpec[JSONOptions]]:
    return [
        TranslatorSpec(
            name="json",
            summary="JSON body, decoded into the type that the handler's first parameter is annotated with",
            options=JSONOptions,
            factory=_translator,
        )
    ]
