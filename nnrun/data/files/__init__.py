"""Files of rows with named columns: a `RowReader` for CSV, JSON lines and Parquet, in batches.

`read_table` puts the batches of a training file together, infers its columns' types and keeps large tables in
the cache; rows to predict come through the same readers (`nnrun.data.new_rows`). May import `inference` and
the modules of `data` itself.
"""
