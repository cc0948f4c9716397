"""A plan of faults that a test wrote down."""

from kafka_esm.chaos import ChaosPlan, Recut


class ScriptedPlan(ChaosPlan):
    """Deals what it was given, and nothing more when that is used up."""

    def __init__(self, *, invocations=(), rewinds=(), shares=(), recuts=()):
        super().__init__(0, "scripted", lambda fault, _text: self.told.append(fault))
        self._script = {
            "invocations": list(invocations),
            "rewinds": list(rewinds),
            "shares": list(shares),
            "recuts": list(recuts),
        }
        self.told = []

    def invocation(self):
        return self._next("invocations", None)

    def rewind(self):
        return self._next("rewinds", 0)

    def share(self):
        return self._next("shares", 1.0)

    def recut(self):
        return self._next("recuts", Recut.SAME)

    def _next(self, name, otherwise):
        return self._script[name].pop(0) if self._script[name] else otherwise
