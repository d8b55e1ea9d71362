"""The router: builds the menu, frames the page, runs it."""

import streamlit as st

from pages.ui import chrome, menu

navigation = st.navigation({name: [entry.page() for entry in entries] for name, entries in menu.SECTIONS.items()})
chrome.page_frame()
navigation.run()
