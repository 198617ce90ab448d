"""Files of rows with named columns: read in blocks, their columns' types inferred.

One module for each way rows are written (`csv_rows`, `jsonl_rows`, `parquet_rows`), each a `RowReader`;
`read` puts the blocks together and keeps large tables in the cache.
"""
