"""The router: builds the menu, frames the page, says what it looks at, runs it."""

import streamlit as st

from pages.server import warmup
from pages.ui import address, chrome, looking, menu

with warmup.first_page():
    navigation = st.navigation(
        {name: [entry.page() for entry in entries] for name, entries in menu.SECTIONS.items()}, expanded=True
    )
    chrome.page_frame()
    address.forget_odd()
    looking.arrive()
    looking.attach()
    looking.note()
    navigation.run()
