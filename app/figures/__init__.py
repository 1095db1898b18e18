"""Results as plotly figures: pure functions, no streamlit, no torch."""
