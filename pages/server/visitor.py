"""A visit without a browser, over the app's own websocket: the rehearsal and the people of the load test."""

import asyncio
from dataclasses import dataclass, field

import websockets

from pages.server.streamlit_internals import SOCKET, BackMsg, ForwardMsg, WidgetState

CHOICES = ("selectbox", "slider", "button_group", "checkbox", "radio")
MOST_BYTES = 64 << 20


@dataclass
class Widget:
    """A control on the page: its protobuf, its kind, the fragment it lies in."""

    kind: str
    proto: object
    fragment: str

    @property
    def enabled(self) -> bool:
        """Whether it is a control that can be set."""
        return self.kind in (*CHOICES, "number_input") and not self.proto.disabled and not self.proto.form_id

    @property
    def chooses(self) -> bool:
        """Whether it offers choices that can be counted."""
        return (
            self.enabled
            and self.kind in CHOICES
            and (self.kind != "slider" or self.proto.type == self.proto.SELECT_SLIDER)
        )

    @property
    def count(self) -> int:
        """How many choices it offers."""
        return 2 if self.kind == "checkbox" else len(self.proto.options)

    @property
    def undecided(self) -> bool:
        """Whether nothing is chosen yet: a guess, a switch that is off."""
        return self.enabled and self.kind in ("checkbox", "button_group") and not self.proto.default

    @property
    def default(self) -> int:
        """The choice that it starts with."""
        default = self.proto.default
        return int(default) if self.kind in ("selectbox", "radio", "checkbox") else int(default[0]) if default else 0

    def choice(self, id: str, number: int) -> WidgetState:
        """The state of having chosen so."""
        state, proto = WidgetState(id=id), self.proto
        if self.kind == "selectbox":
            state.string_value = proto.options[number]
        elif self.kind == "slider":
            state.string_array_value.data.append(proto.options[number])
        elif self.kind == "button_group":
            state.string_array_value.data.append(proto.options[number].content)
        elif self.kind == "radio":
            state.int_value = number
        else:
            state.bool_value = number != 0
        return state


@dataclass
class Visitor:
    """A session. widgets: what the page shows; states: what was set of it; pages: hashes of pages by address.

    received: bytes of all messages. kept: large messages by hash, which the server need not send again: browsers keep
    them, too. seconds: how long a run may take.
    """

    address: str
    seconds: float = 120
    widgets: dict[str, Widget] = field(default_factory=dict)
    states: dict[str, WidgetState] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    page: str = ""
    query: str = ""
    received: int = 0
    kept: dict[str, ForwardMsg] = field(default_factory=dict)

    async def __aenter__(self):
        host, _, prefix = self.address.partition("/")
        self.socket = await websockets.connect(
            f"ws://{host}{'/' + prefix if prefix else ''}{SOCKET}", subprotocols=["streamlit"],
            max_size=MOST_BYTES, origin=f"http://{host}", open_timeout=60, ping_interval=None,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def visit(self, page: str, query: str = "") -> None:
        """Go to a page by its address, with nothing set, and stay until it is drawn."""
        self.widgets, self.states, self.page = {}, {}, page
        await self.run(query=query, page=page)

    async def set(self, state: WidgetState) -> None:
        """Set a control, and stay until what depends on it is drawn."""
        self.states[state.id] = state
        await self.run(fragment=self.widgets[state.id].fragment)

    async def run(self, fragment: str = "", query: str | None = None, page: str | None = None) -> None:
        message = BackMsg()
        run = message.rerun_script
        run.query_string = self.query = self.query if query is None else query
        if page is not None and page not in self.pages:
            run.page_name = page
        else:
            run.page_script_hash = self.pages.get(self.page if page is None else page, "")
        run.fragment_id = fragment
        run.widget_states.widgets.extend(self.states.values())
        run.cached_message_hashes.extend(self.kept)
        await self.socket.send(message.SerializeToString())
        while not self.take(await self._next()):
            pass

    async def _next(self) -> ForwardMsg:
        said = await asyncio.wait_for(self.socket.recv(), self.seconds)
        self.received += len(said)
        message = ForwardMsg()
        message.ParseFromString(said)
        if message.WhichOneof("type") == "ref_hash":
            return self.kept[message.ref_hash]
        if message.metadata.cacheable:
            self.kept[message.hash] = message
        return message

    def take(self, message: ForwardMsg) -> bool:
        """Take a message in; True where it says that the run has ended."""
        kind = message.WhichOneof("type")
        if kind == "navigation":
            self.pages = {p.url_pathname: p.page_script_hash for p in message.navigation.app_pages}
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            kind = message.delta.new_element.WhichOneof("type")
            proto = getattr(message.delta.new_element, kind) if kind else None
            if proto is not None and getattr(proto, "id", ""):
                self.widgets[proto.id] = Widget(kind, proto, message.delta.fragment_id)
        return kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN
