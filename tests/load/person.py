"""A person without a browser: a visitor who reads pages, changes controls at random, and notes how long that took."""

import random
import time
from dataclasses import dataclass, field

from pages.server.streamlit_internals import ForwardMsg, WidgetState
from pages.server.visitor import Visitor, Widget

UNEXPECTED = "did not expect"


def changeable(widget: Widget) -> bool:
    """Whether a person would play with it."""
    if not widget.enabled:
        return False
    return not widget.chooses or widget.count > 1


def other_value(widget: Widget, id: str, rng: random.Random) -> WidgetState:
    """A value that a person might choose."""
    proto = widget.proto
    if widget.chooses:
        return widget.choice(id, rng.randrange(widget.count))
    if widget.kind == "number_input":
        low = proto.min if proto.has_min else 0
        high = proto.max if proto.has_max else low + 100
        return WidgetState(
            id=id, double_value=float(rng.randint(int(low), max(int(low), int(min(high, low + 100_000)))))
        )
    steps = int((proto.max - proto.min) / (proto.step or 1))
    value = proto.min + rng.randint(0, max(0, steps)) * (proto.step or 1)
    state = WidgetState(id=id)
    state.double_array_value.data.extend([value] * max(1, len(proto.default)))
    return state


@dataclass
class Person(Visitor):
    """times: seconds from each action to the last thing drawn, slowest: the same with what it was.

    errors: what went wrong, in words. texts, alerts: what the page says.
    """

    seed: int = 0
    times: list[float] = field(default_factory=list)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.rng = random.Random(self.seed)

    async def change_something(self) -> float | None:
        """Change a control of the page; None where it has none."""
        offered = [id for id, widget in self.widgets.items() if changeable(widget)]
        if not offered:
            return None
        id = self.rng.choice(offered)
        widget, started = self.widgets[id], time.perf_counter()
        await self.set(other_value(widget, id, self.rng))
        self.times.append(time.perf_counter() - started)
        self.slowest.append((self.times[-1], f"{self.page}: {widget.kind} {getattr(widget.proto, 'label', '')}"))
        return self.times[-1]

    async def choose(self, label: str, value: str) -> None:
        """Set the select box of a label."""
        await self.set(WidgetState(id=self._labelled("selectbox", label), string_value=value))

    async def press(self, label: str) -> None:
        """Press the button of a label."""
        id = self._labelled("button", label)
        try:
            await self.set(WidgetState(id=id, trigger_value=True))
        finally:
            del self.states[id]

    def _labelled(self, kind: str, label: str) -> str:
        return next(id for id, w in self.widgets.items() if w.kind == kind and w.proto.label == label)

    async def run(self, *args, **named) -> None:
        self.texts = []
        await super().run(*args, **named)

    def take(self, message: ForwardMsg) -> bool:
        kind = message.WhichOneof("type")
        if kind == "page_not_found":
            self.errors.append(f"{self.page}: page not found")
        elif kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
            self.errors.append(f"{self.page}: compile error")
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._read(message.delta.new_element)
        return super().take(message)

    def _read(self, element) -> None:
        kind = element.WhichOneof("type")
        proto = getattr(element, kind) if kind else None
        if kind == "exception" or (kind == "alert" and UNEXPECTED in proto.body):
            self.errors.append(f"{self.page}: {getattr(proto, 'message', '') or proto.body}"[:200])
        elif kind == "alert" and proto.format == proto.ERROR:
            self.alerts.append(proto.body)
        elif kind == "text":
            self.texts.append(proto.body)
        elif kind == "link_button":
            self.texts.append(proto.url)
