"""What the component Explore fetches by address: binary columns and JSON of a model. Knows no Streamlit and no server.

The server answers by it (`app.routes.workspace`), and so can anything else that shows the component.
"""
