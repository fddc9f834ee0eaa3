"""The verb `export`: fields, surfaces, elements, tables and figures of a sample as files."""
