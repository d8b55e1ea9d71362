"""One person at the app: a real websocket session that reads what is drawn and changes controls as a browser does."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

CHANGEABLE = ("selectbox", "number_input", "slider", "button_group", "checkbox", "radio")
UNEXPECTED = "did not expect"
MOST_BYTES = 64 << 20


@dataclass
class Widget:
    """A control on the page: its protobuf, its kind, the fragment it lies in."""

    kind: str
    proto: object
    fragment: str

    @property
    def changeable(self) -> bool:
        if self.kind not in CHANGEABLE or self.proto.disabled or self.proto.form_id:
            return False
        return self.kind in ("number_input", "slider", "checkbox") or len(self.proto.options) > 1

    def other_value(self, id: str, rng: random.Random) -> WidgetState:
        """A value that a person might choose."""
        state, proto = WidgetState(id=id), self.proto
        if self.kind == "selectbox":
            state.string_value = rng.choice(proto.options)
        elif self.kind == "radio":
            state.int_value = rng.randrange(len(proto.options))
        elif self.kind == "button_group":
            state.string_array_value.data.append(rng.choice(proto.options).content)
        elif self.kind == "checkbox":
            state.bool_value = rng.random() < 0.5
        elif self.kind == "number_input":
            low = proto.min if proto.has_min else 0
            high = proto.max if proto.has_max else low + 100
            state.double_value = float(rng.randint(int(low), max(int(low), int(min(high, low + 100_000)))))
        elif proto.type == proto.SELECT_SLIDER:
            state.string_array_value.data.append(rng.choice(proto.options))
        else:
            steps = int((proto.max - proto.min) / (proto.step or 1))
            value = proto.min + rng.randint(0, max(0, steps)) * (proto.step or 1)
            state.double_array_value.data.extend([value] * max(1, len(proto.default)))
        return state


@dataclass
class Person:
    """A session. errors: what went wrong, in words. times: seconds from each action to the last thing drawn.
    received: bytes of all messages.
    kept: large messages by hash, which the server need not send again: what a browser does, too."""

    address: str
    seed: int
    times: list[float] = field(default_factory=list)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    widgets: dict[str, Widget] = field(default_factory=dict)
    states: dict[str, WidgetState] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    page: str = ""
    texts: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    received: int = 0
    kept: dict[str, object] = field(default_factory=dict)

    async def __aenter__(self):
        self.rng = random.Random(self.seed)
        self.socket = await websockets.connect(
            f"ws://{self.address}/_stcore/stream", subprotocols=["streamlit"], max_size=MOST_BYTES,
            origin=f"http://{self.address}", open_timeout=60, ping_interval=None,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def visit(self, page: str, query: str = "") -> float:
        """Go to a page by its address; returns the seconds until it is drawn."""
        self.widgets, self.states, self.page = {}, {}, page
        return await self.run(query=query, page=page)

    async def change_something(self) -> float | None:
        """Change a control of the page; None where it has none."""
        offered = [id for id, widget in self.widgets.items() if widget.changeable]
        if not offered:
            return None
        id = self.rng.choice(offered)
        widget = self.widgets[id]
        self.states[id] = widget.other_value(id, self.rng)
        seconds = await self.run(fragment=widget.fragment)
        self.times.append(seconds)
        self.slowest.append((seconds, f"{self.page}: {widget.kind} {getattr(widget.proto, 'label', '')}"))
        return seconds

    async def choose(self, label: str, value: str) -> float:
        """Set the select box of a label."""
        id = self._labelled("selectbox", label)
        self.states[id] = WidgetState(id=id, string_value=value)
        return await self.run(fragment=self.widgets[id].fragment)

    async def press(self, label: str) -> float:
        """Press the button of a label."""
        id = self._labelled("button", label)
        self.states[id] = WidgetState(id=id, trigger_value=True)
        try:
            return await self.run(fragment=self.widgets[id].fragment)
        finally:
            del self.states[id]

    def _labelled(self, kind: str, label: str) -> str:
        return next(id for id, w in self.widgets.items() if w.kind == kind and w.proto.label == label)

    async def run(self, fragment: str = "", query: str | None = None, page: str | None = None) -> float:
        message = BackMsg()
        run = message.rerun_script
        run.query_string = self.query = query if query is not None else getattr(self, "query", "")
        if page is not None and page in self.pages:
            run.page_script_hash = self.pages[page]
        elif page is not None:
            run.page_name = page
        else:
            run.page_script_hash = self.pages.get(self.page, "")
        run.fragment_id = fragment
        run.widget_states.widgets.extend(self.states.values())
        run.cached_message_hashes.extend(self.kept)
        self.texts = []
        started = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        await self._until_finished()
        return time.perf_counter() - started

    async def _until_finished(self) -> None:
        while True:
            message = ForwardMsg()
            said = await asyncio.wait_for(self.socket.recv(), 120)
            self.received += len(said)
            message.ParseFromString(said)
            if message.WhichOneof("type") == "ref_hash":
                message = self.kept[message.ref_hash]
            elif message.metadata.cacheable:
                self.kept[message.hash] = message
            kind = message.WhichOneof("type")
            if kind == "delta":
                self._drawn(message.delta)
            elif kind == "navigation":
                self.pages = {p.url_pathname: p.page_script_hash for p in message.navigation.app_pages}
            elif kind == "page_info_changed":
                self.query = message.page_info_changed.query_string
            elif kind == "page_not_found":
                self.errors.append(f"{self.page}: page not found")
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                    self.errors.append(f"{self.page}: compile error")
                return

    def _drawn(self, delta) -> None:
        if delta.WhichOneof("type") != "new_element":
            return
        kind = delta.new_element.WhichOneof("type")
        proto = getattr(delta.new_element, kind) if kind else None
        if kind == "exception" or (kind == "alert" and UNEXPECTED in proto.body):
            self.errors.append(f"{self.page}: {getattr(proto, 'message', '') or proto.body}"[:200])
        elif kind == "alert" and proto.format == proto.ERROR:
            self.alerts.append(proto.body)
        elif kind == "text":
            self.texts.append(proto.body)
        elif kind == "link_button":
            self.texts.append(proto.url)
        if proto is not None and getattr(proto, "id", ""):
            self.widgets[proto.id] = Widget(kind, proto, delta.fragment_id)
