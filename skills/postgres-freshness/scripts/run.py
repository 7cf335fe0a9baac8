"""Says how old the newest row of a Postgres table is; 1 when it is too old."""

import argparse
import sys

SECONDS = 10  # of a statement, and of connecting


def age(dsn, table, column):
    """Seconds since the newest row, None for an empty table."""
    import psycopg
    from psycopg import sql

    name = sql.Identifier(*table.split(".", 1))
    query = sql.SQL("SELECT extract(epoch FROM now() - max({})) FROM {}")
    with psycopg.connect(dsn, connect_timeout=SECONDS) as connection:
        connection.read_only = True
        connection.execute(f"SET statement_timeout = '{SECONDS}s'")
        found = connection.execute(query.format(sql.Identifier(column), name)).fetchone()[0]
    return None if found is None else float(found)


def main(words):
    parser = argparse.ArgumentParser(prog="postgres-freshness")
    parser.add_argument("table")
    parser.add_argument("column")
    parser.add_argument("--max-age", type=float, required=True, metavar="SECONDS")
    parser.add_argument("--dsn", default="")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(words)
    try:
        import psycopg

        seconds = age(args.dsn, args.table, args.column)
    except ImportError:
        print("psycopg is not installed: pip install 'psycopg[binary]'", file=sys.stderr)
        return 2
    except psycopg.Error as error:
        print(f"cannot be measured: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    fresh = seconds is not None and seconds <= args.max_age
    if args.json:
        import json

        print(json.dumps({"table": args.table, "age_seconds": seconds, "fresh": fresh}))
    elif seconds is None:
        print(f"{args.table} is empty")
    else:
        word = "fresh" if fresh else "STALE"
        print(
            f"{args.table}: newest {args.column} is {seconds:.0f} s old, {word} "
            f"(limit {args.max_age:.0f} s)"
        )
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
