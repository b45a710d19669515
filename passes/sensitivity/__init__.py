"""What an error in one layer costs at the outputs: measured, stored in a table, found again."""
