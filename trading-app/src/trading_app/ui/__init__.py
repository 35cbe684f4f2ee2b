"""What people see: Streamlit pages, and the pieces they are made of. Widgets only."""
