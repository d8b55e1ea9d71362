"""Results as pictures: Plotly figures and SVG. Never imports Streamlit, so notebooks can use it too."""
