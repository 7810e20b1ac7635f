"""Plans met with headers: tables of the documents' examples, and laws."""
