"""Reading, checking and converting the data that people bring. No torch."""
